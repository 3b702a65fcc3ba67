# Print the beginning of README, without the lines that show images.
shopt -s nocaseglob nullglob
cat -- readme* </dev/null | grep -avE '!\[|<img|^\.\. .*image::|^ +:[a-z]+:' | cat -s | head -c 3000
