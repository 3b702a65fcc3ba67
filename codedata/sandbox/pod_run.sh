# One command in a pod, its output in the order of its arrival. Before this stand `token`, `argv`, and what is exported.
# Says the output, and behind it the token. Then it waits for a line on stdin: the client has read all, so what the
# command left running, and holds its output open, need not end for the exec to end.
exec 3<&0 4>&1
exec 5> >(exec cat >&4 3<&-)
relay=$!
"${argv[@]}" < /dev/null >&5 2>&1 3<&- 4>&- 5>&-
code=$?
printf '%s' "$token" >&5
read -r -t 30 _ <&3
exec 6< "/proc/$relay/fd/0"
cat <&6 > /dev/null 2>&1 3<&- 4>&- 5>&- &   # what it left running may go on printing
kill "$relay"
exit "$code"
