# Functions of the builder pod (kube_images.py). A TREE is the folder that has the files of a container or image.
export LC_ALL=C BUILDAH_ISOLATION=chroot REGISTRY_AUTH_FILE=/run/login/.dockerconfigjson
[ -e "$REGISTRY_AUTH_FILE" ] || unset REGISTRY_AUTH_FILE
storage=/var/lib/containers/storage max_images=30   # a whole tree each
own=(proc sys dev etc/hosts etc/hostname etc/resolv.conf)   # what the cluster puts in a pod: an image keeps its base's

# vfs has a whole copy of each layer, and compares two by times, owners and sizes: a file that is written anew as it was is
# not in the next layer. With overlay it would be.
b() { buildah --storage-driver vfs "$@"; }

prepare() {   # REGISTRY: once. One on the loopback has no TLS
    [ -e /tmp/prepared ] && return
    { buildah --version && skopeo --version; } >/dev/null 2>&1 || {
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah skopeo ca-certificates
    } >&2 || return
    case $1 in
    127.* | localhost[:/]*)
        printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "${1%%/*}" \
            >/etc/containers/registries.conf.d/codedata.conf ;;
    esac
    touch /tmp/prepared
}

pull() {   # IMAGE: prints its id. One without a registry may be anybody's
    [[ $1 == localhost/* || ($1 == */* && ${1%%/*} == *[.:]*) ]] || { echo "the name of $1 has no registry" >&2; return 1; }
    b pull -q --policy missing "$1"
}

prune() { [ "$(b images -q | wc -l)" -lt $max_images ] || b rmi -a; }   # those that have no container

begin() {   # CONTAINER IMAGE: prints its tree
    pull "$2" >&2 && b from -q --pull-never --name "$1" "$2" >&2 && b mount "$1"
}

view() {   # IMAGE: prints its tree
    local id layer
    id=$(pull "$1") || return
    layer=$(grep -o "{\"id\":\"$id\"[^}]*" $storage/vfs-images/images.json | grep -o '"layer":"[^"]*' | cut -d'"' -f4)
    echo "$storage/vfs/dir/${layer:?}"
}

look() {   # prints what is in the current tree, but for its folders
    find . -mindepth 1 \( -path ./proc -o -path ./sys -o -path ./dev \) -prune -o \
        ! -type d -printf '/%P\t%y %s %T@ %m %U %G %l\0' | sort -z
}

fill() {   # TREE BYTES: gives it the content of a tar on stdin, and notes the paths that are other than before
    cd "$1" || return
    look >/tmp/before
    tar -cf /tmp/own.tar --ignore-failed-read "${own[@]}" 2>/dev/null &&
        find . -mindepth 1 -delete && tar -xpf /tmp/own.tar || return
    head -c "$2" | tar -xpf - --numeric-owner --xattrs --xattrs-include=security.capability --anchored \
        "${own[@]/#/--exclude=./}" || return
    look | comm -z -13 /tmp/before - | cut -z -f1 >/tmp/changed
}

push() {   # CONTAINER IMAGE WORKDIR: prints its name by digest
    b config --workingdir "$3" --cmd bash "$1" &&
        b commit -q --format docker --identity-label=false "$1" "docker://$2" >&2 && by_digest "$2"
}

copy() {   # IMAGE NAME: prints its new name by digest
    skopeo copy -q "docker://$1" "docker://$2" >&2 && by_digest "$2"
}

by_digest() {
    local last=${1##*/} digest
    digest=$(skopeo inspect --format '{{.Digest}}' "docker://$1") && echo "${1%/*}/${last%%:*}@$digest"
}

# These three end with 2 where they cannot be answered: 1 would be a file that tar saw change.
all() {   # TREE: prints a tar of it, as the engine's export does
    cd "$1" && find . -mindepth 1 -maxdepth 1 -printf '%P\0' | tar -cf - --null -T - || return 2
}

is_real() { [ "$(realpath -e "$1$2")" = "$1${2%/}" ]; }   # TREE FOLDER: it is there, and not by a link

below() {   # TREE PATH: prints a tar of a folder or file
    is_real "$1" "$(dirname "$2")" && tar -C "$1$(dirname "$2")" -cf - --add-file="$(basename "$2")" || return 2
}

one() {   # TREE PATH: prints a tar of what is no folder; nothing for a folder, or where nothing is
    [ -d "$1" ] || return 2
    is_real "$1" "$(dirname "$2")" && { [ -L "$1$2" ] || [ -f "$1$2" ]; } || return 0
    below "$@"
}
