# manifest FOLDER: print the manifest of what is in a folder
manifest() (
    cd "$1"
    for path in $(find . -type f | sort); do
        sha256sum "${path#./}"
    done
)
