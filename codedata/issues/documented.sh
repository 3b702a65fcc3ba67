# Print the words of README and documentation, each once: names, paths, and dotted names.
export LC_ALL=C.UTF-8
find . -maxdepth 1 -regextype posix-extended -iregex './(readme.*|docs?|documentation|man)' -print0 |
    xargs -0rI{} find {} -type f -size -2000k -print0 |
    xargs -0r grep -IohE '[[:alnum:]_][[:alnum:]_./-]*[[:alnum:]_]|[[:alnum:]_]' -- | sort -u | head -c 900000
