# Functions of the builder pod (kube_images.py). A TREE is the folder that has the files of a container or image.
export LC_ALL=C BUILDAH_ISOLATION=chroot REGISTRY_AUTH_FILE=/run/login/.dockerconfigjson
[ -e "$REGISTRY_AUTH_FILE" ] || unset REGISTRY_AUTH_FILE
storage=/var/lib/containers/storage max_images=30   # a whole tree each; more are removed unless they are used
own=(proc sys dev etc/hosts etc/hostname etc/resolv.conf)   # what the cluster puts in a pod: an image keeps its base's

# vfs has a whole copy of each layer, and compares two by times, owners and sizes: a file that is written anew as it was is
# not in the next layer. With overlay it would be.
b() { buildah --storage-driver vfs "$@"; }

prepare() {   # [HOST:PORT of a registry without TLS]
    { buildah --version && skopeo --version; } >/dev/null 2>&1 || {
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah skopeo ca-certificates
    } || return
    [ -z "$1" ] || printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$1" >/etc/containers/registries.conf.d/codedata.conf
}

pull() {   # IMAGE: prints its id
    [ "$(b images -q | wc -l)" -lt $max_images ] || b rmi -a >&2 || true
    b pull -q --policy missing "$1"
}

begin() {   # CONTAINER IMAGE: prints its tree
    pull "$2" >&2 && b from -q --pull-never --name "$1" "$2" >&2 && b mount "$1"
}

view() {   # IMAGE: prints its tree
    local id layer
    id=$(pull "$1") || return
    layer=$(grep -o "{\"id\":\"$id\"[^}]*" $storage/vfs-images/images.json | grep -o '"layer":"[^"]*' | cut -d'"' -f4)
    echo "$storage/vfs/dir/${layer:?}"
}

look() { find . -mindepth 1 \( -path ./proc -o -path ./sys -o -path ./dev \) -prune -o ! -type d -printf '/%P\t%y %s %T@ %m %U %G %l\0' | sort -z; }

fill() {   # TREE BYTES: gives it the content of a tar on stdin, and notes the paths that are other than before
    cd "$1" || return
    look >/tmp/before
    tar -cf /tmp/own.tar --ignore-failed-read "${own[@]}" 2>/dev/null &&
        find . -mindepth 1 -delete && tar -xpf /tmp/own.tar || return
    head -c "$2" | tar -xpf - --numeric-owner --xattrs --xattrs-include=security.capability --anchored \
        "${own[@]/#/--exclude=./}" || return
    look | comm -z -13 /tmp/before - | cut -z -f1 >/tmp/changed
}

push() {   # CONTAINER IMAGE WORKDIR: prints its digest
    b config --workingdir "$3" --cmd bash "$1" &&
        b commit -q --format docker --identity-label=false --iidfile /tmp/id "$1" "docker://$2" >/dev/null && digest "$2"
}

digest() { skopeo inspect --format '{{.Digest}}' "docker://$1"; }

all() {   # TREE: prints a tar of it, as the engine's export does
    cd "$1" && find . -mindepth 1 -maxdepth 1 -printf '%P\0' | tar -cf - --null -T -
}

below() {   # TREE PATH: prints a tar of a folder or file; fails where the way there is none, or goes through a link
    local folder=$(dirname "$2")
    [ "$(realpath -e "$1$folder")" = "$1${folder%/}" ] && tar -C "$1$folder" -cf - --add-file="$(basename "$2")"
}

one() {   # TREE PATH: the same for what is no folder; prints nothing for a folder
    [ -d "$1" ] || return
    [ -L "$1$2" ] || [ -f "$1$2" ] || return 0
    below "$@"
}
