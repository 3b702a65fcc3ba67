# stage REPOSITORY TAG FOLDER: put the files of a release into a folder
stage() {
    cp -R "$1/." "$3"
    rm -rf "$3/.git"
}
