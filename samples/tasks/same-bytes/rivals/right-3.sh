#!/bin/bash
# As the solution, but the manifest is made by sha256sum of all at once, and verify compares by awk and join-free sorting.

# What is staged: the tagged commit, as it is.
cat > lib/stage.sh <<'END'
# stage REPOSITORY TAG FOLDER: put the files of a release into a folder
stage() {
    # in a repository without a configuration and attributes of its own
    local bare objects commit
    bare=$(mktemp -d)
    objects=$(git -C "$1" rev-parse --path-format=absolute --git-path objects)
    commit=$(git -C "$1" rev-parse "refs/tags/$2^{commit}")
    git init -q --bare --template= \
        --object-format="$(git -C "$1" rev-parse --show-object-format)" "$bare"
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_ATTR_NOSYSTEM=1 \
        GIT_OBJECT_DIRECTORY=$objects git --git-dir="$bare" -c core.attributesFile=/dev/null \
        archive --format=tar "$commit" | tar -x -C "$3"
    rm -rf "$bare"
    # attributes like eol and export-subst change bytes on the way: put back those of the commit
    local entry mode kind blob path
    git -C "$1" ls-tree -r -z --full-tree "refs/tags/$2^{commit}" |
        while IFS= read -r -d '' entry; do
            path=${entry#*$'\t'}
            read -r mode kind blob <<<"${entry%%$'\t'*}"
            if [[ $mode == 100* && -f "$3/$path" ]]; then
                git -C "$1" cat-file "$kind" "$blob" >"$3/$path"
            fi
        done
}
END

# The manifest: all names, links too.
cat > lib/manifest.sh <<'END'
# manifest FOLDER: print the manifest of what is in a folder
manifest() (
    cd "$1"
    find . ! -type d ! -path ./MANIFEST -printf '%P\0' | LC_ALL=C sort -z |
        while IFS= read -r -d '' path; do
            if [ -L "./$path" ]; then
                digest=$(readlink -n "./$path" | sha256sum)
                printf '%s @%s\n' "${digest%% *}" "$path"
            else
                digest=$(sha256sum <"./$path")
                printf '%s  %s\n' "${digest%% *}" "$path"
            fi
        done
)
END

# The archive: nothing in it comes from this machine.
cat > lib/pack.sh <<'END'
# pack FOLDER NAME TIME: print the archive of FOLDER/NAME
pack() (
    cd "$1"
    find "$2" ! -type d -print0 | LC_ALL=C sort -z |
        tar -c --format=gnu --no-recursion --null --verbatim-files-from -T - --mtime="@$3" \
            --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX,a-s | gzip -n -9
)
END

# What is refused, and what is there already.
cat > bin/release <<'END'
#!/bin/bash
# Write a release's archive: bin/release REPOSITORY TAG FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/stage.sh"
. "$here/lib/manifest.sh"
. "$here/lib/pack.sh"

refuse() {
    echo "release: $2" >&2
    exit "$1"
}

repository=$1 tag=$2 folder=$3
commit=$(git -C "$repository" rev-parse -q --verify "refs/tags/$tag^{commit}") || refuse 2 "no tag $tag"
conf=$(git -C "$repository" cat-file blob "$commit:release.conf" 2>/dev/null) || refuse 2 "no release.conf"
name=$(sed -n 's/^name *= *\([A-Za-z0-9.-]*\) *$/\1/p' <<<"$conf")
[ -n "$name" ] || refuse 2 "release.conf has no name"
top=$name-${tag#v}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/$top"
stage "$repository" "$tag" "$work/$top"
manifest "$work/$top" >"$work/MANIFEST"
mv "$work/MANIFEST" "$work/$top/MANIFEST"
pack "$work" "$top" "$(git -C "$repository" log -1 --format=%ct "$commit")" >"$work/archive"
target=$folder/$top.tar.gz
if [ -e "$target" ]; then
    cmp -s "$work/archive" "$target" || refuse 3 "$target is there and differs"
    exit 0
fi
mkdir -p "$folder"
cp "$work/archive" "$target.part"
mv "$target.part" "$target"
END

# Verification: by what is there, not only by what is listed.
cat > bin/verify <<'END'
#!/bin/bash
# Compare an archive with its manifest: bin/verify ARCHIVE
set -euo pipefail
. "$(dirname "$0")/../lib/manifest.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/content"
tar -xzf "$1" -C "$work/content" 2>/dev/null || exit 2
tops=("$work"/content/*/)
[ ${#tops[@]} -eq 1 ] && [ -f "${tops[0]}MANIFEST" ] || exit 2
manifest "${tops[0]}" >"$work/actual"

declare -A listed=()
differ() { printf '%s %s\n' "$1" "$2" >>"$work/differences"; }
: >"$work/differences"
while IFS= read -r line; do
    listed["${line:66}"]=${line:0:66}
done <"${tops[0]}MANIFEST"
while IFS= read -r line; do
    path=${line:66}
    if [ -z "${listed[$path]+known}" ]; then
        differ extra "$path"
    elif [ "${listed[$path]}" != "${line:0:66}" ]; then
        differ changed "$path"
    fi
    unset "listed[\$path]"
done <"$work/actual"
for path in "${!listed[@]}"; do
    differ missing "$path"
done
LC_ALL=C sort "$work/differences"
[ ! -s "$work/differences" ]
END
cat > lib/manifest.sh <<'END'
# manifest FOLDER: print the manifest of what is in a folder
manifest() (
    export LC_ALL=C
    cd "$1"
    {
        find . -type f ! -path ./MANIFEST -printf '%P\0' | xargs -0r sha256sum -z -- | tr '\0' '\n'
        find . -type l -printf '%P\0' | while IFS= read -r -d '' path; do
            printf '%s @%s\n' "$(readlink -n -- "$path" | sha256sum | cut -c -64)" "$path"
        done
    } | sort -k 1.67
)
END
cat > bin/verify <<'END'
#!/bin/bash
# Compare an archive with its manifest: bin/verify ARCHIVE
set -uo pipefail
export LC_ALL=C
. "${0%/*}/../lib/manifest.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/in"
gzip -dc <"$1" 2>/dev/null >"$work/tar" && tar -xf "$work/tar" -C "$work/in" 2>/dev/null || exit 2
[ "$(find "$work/in" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 1 ] || exit 2
top=$(find "$work/in" -mindepth 1 -maxdepth 1 -type d)
[ -f "$top/MANIFEST" ] || exit 2
{ sed 's/^/m/' "$top/MANIFEST"; manifest "$top" | sed 's/^/f/'; } | awk '
    { path = substr($0, 68); mark = substr($0, 2, 66); seen[path] }
    /^m/ { m[path] = mark }
    /^f/ { f[path] = mark }
    END {
        for (path in seen)
            if (!(path in f)) print "missing " path
            else if (!(path in m)) print "extra " path
            else if (m[path] != f[path]) print "changed " path
    }' | sort >"$work/found"
cat "$work/found"
[ ! -s "$work/found" ]
END
