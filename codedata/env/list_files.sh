# The files of a repository, those on top first: what lies there says most.
if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -co --exclude-standard
else
    find . -type f -not -path './.git/*' | cut -c3- | sort
fi | awk -F/ '{ print NF "\t" $0 }' | sort -s -n -k1,1 | cut -f2- | awk '
    NR <= {max_files}
    END { if (NR > {max_files}) print "… and " NR - {max_files} " more" }'
