# pack FOLDER NAME TIME: print the archive of FOLDER/NAME
pack() {
    tar -C "$1" -cz "$2"
}
