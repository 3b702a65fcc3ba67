cd /testbed && rm -rf {archive} && {
    printf '%s\0' {touched}
    git -c safe.directory='*' diff --name-only -z --no-renames --diff-filter=A {commit} -- '*.py'
    git -c safe.directory='*' ls-files --others --exclude-standard -z -- '*.py'
} | tar --null --verbatim-files-from --no-recursion --ignore-failed-read -cf {archive} -T -
true
