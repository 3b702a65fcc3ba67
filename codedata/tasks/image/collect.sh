cd {workdir} && rm -rf {archive} && {
    {counted}git -c safe.directory='*' diff --name-only -z --no-renames --diff-filter={kinds} {commit}{below}
    git -c safe.directory='*' ls-files --others --exclude-standard -z{below}
} | tar --null --verbatim-files-from --no-recursion --ignore-failed-read --format=gnu --label={label} -cf {archive} -T -
true
