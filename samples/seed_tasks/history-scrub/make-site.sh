set -eu
git init -q -b main site
cd site
for n in 1 2 3 4 5 6; do
    echo "page $n" >page.txt
    if [ "$n" = 3 ]; then echo "PASSWORD=hunter$((n * 7919))" >deploy.env; fi
    if [ "$n" = 5 ]; then git rm -q --cached deploy.env; rm deploy.env; fi
    git add -A
    GIT_AUTHOR_DATE="$((1600000000 + n)) +0000" GIT_COMMITTER_DATE="$((1600000000 + n)) +0000" \
        git -c user.name="dev$n" -c user.email="dev$n@site.example" commit -q -m "step $n"
    if [ "$n" = 4 ]; then git tag v1; git branch topic; fi
done
git checkout -q topic
echo topic >topic.txt
git add -A
git -c user.name=dev7 -c user.email=dev7@site.example commit -q -m "topic"
git checkout -q main
