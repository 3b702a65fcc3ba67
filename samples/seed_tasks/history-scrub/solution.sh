#!/bin/bash
set -euo pipefail
cd /app/site
git filter-branch -f --index-filter 'git rm -q --cached --ignore-unmatch deploy.env' \
    --tag-name-filter cat -- --all >/dev/null 2>&1
git for-each-ref --format='delete %(refname)' refs/original | git update-ref --stdin
git reflog expire --expire=now --all
git gc -q --prune=now
