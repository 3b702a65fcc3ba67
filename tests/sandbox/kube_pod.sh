# The root folder of a pod of kube_server.py: this machine's programs, read-only, and empty folders of its own.
# Run in new mount and pid namespaces: sh kube_pod.sh ROOT COMMAND...
set -e
root=$1
shift
mount --rbind "$root" "$root"
for top in usr bin sbin lib lib32 lib64 libx32 opt etc; do
    if [ -L "/$top" ]; then
        ln -s "$(readlink "/$top")" "$root/$top"
    elif [ -d "/$top" ]; then
        mkdir "$root/$top"
        mount --rbind "/$top" "$root/$top"
        mount -o remount,ro,bind "$root/$top"
    fi
done
mkdir -m 1777 "$root/tmp"
mkdir "$root/dev" "$root/proc" "$root/root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
