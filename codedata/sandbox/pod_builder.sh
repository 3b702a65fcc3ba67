# Functions of the builder pod (kube_images.py). A `tree` is the folder of a working container: the files of its image.
export LC_ALL=C BUILDAH_ISOLATION=chroot REGISTRY_AUTH_FILE=/run/login/.dockerconfigjson
[ -e "$REGISTRY_AUTH_FILE" ] || unset REGISTRY_AUTH_FILE
storage=/var/lib/containers max_mb=20000   # above which images that nothing uses are removed
own=(proc sys dev etc/hosts etc/hostname etc/resolv.conf)   # what the cluster puts in a pod: an image keeps its base's

b() { buildah --storage-driver vfs "$@"; }
tree() { b mount "$1"; }

prepare() {   # [HOST:PORT of a registry without TLS]
    { buildah --version && skopeo --version; } >/dev/null 2>&1 || {
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah skopeo ca-certificates
    } || return
    [ -z "$1" ] || printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$1" >/etc/containers/registries.conf.d/codedata.conf
}

begin() {   # CONTAINER IMAGE: has its tree
    [ "$(du -sm $storage | cut -f1)" -lt $max_mb ] || b rmi -a >/dev/null 2>&1 || true
    b from -q --name "$1" "$2"
}

look() { find . -mindepth 1 \( -path ./proc -o -path ./sys -o -path ./dev \) -prune -o ! -type d -printf '/%P\t%y %s %T@ %m %U %G %l\0' | sort -z; }

fill() {   # CONTAINER BYTES: gives its tree the content of a tar on stdin, and notes the paths that are other than before
    cd "$(tree "$1")" || return
    look >/tmp/before
    tar -cf /tmp/own.tar --ignore-failed-read "${own[@]}" 2>/dev/null &&
        find . -mindepth 1 -delete && tar -xpf /tmp/own.tar || return
    head -c "$2" | tar -xpf - --numeric-owner --xattrs --xattrs-include=security.capability --anchored \
        "${own[@]/#/--exclude=./}" || return
    look | comm -z -13 /tmp/before - | cut -z -f1 >"/tmp/$1.changed"
}

push() {   # CONTAINER IMAGE WORKDIR: prints its digest
    b config --workingdir "$3" --cmd bash "$1" &&
        b commit -q --format docker --identity-label=false --iidfile /tmp/id "$1" "docker://$2" >/dev/null && digest "$2"
}

digest() { skopeo inspect --format '{{.Digest}}' "docker://$1"; }

all() {   # CONTAINER: prints a tar of its tree, as the engine's export does
    cd "$(tree "$1")" && find . -mindepth 1 -maxdepth 1 -printf '%P\0' | tar -cf - --null -T -
}

below() {   # CONTAINER PATH: prints a tar of a folder or file; fails where the way there is none, or goes through a link
    local tree folder=$(dirname "$2")
    tree=$(realpath "$(tree "$1")")
    [ "$(realpath -e "$tree$folder")" = "$tree${folder%/}" ] && tar -C "$tree$folder" -cf - --add-file="$(basename "$2")"
}

one() {   # CONTAINER PATH: the same for what is no folder; prints nothing for a folder
    local place
    place=$(tree "$1")$2
    [ -L "$place" ] || [ -f "$place" ] || return 0
    below "$@"
}
