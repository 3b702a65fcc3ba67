# Run one command in a pod: print its output in order of arrival, then the token. The lines before this script set
# `token`, `argv` and exported variables. Then wait for a line on stdin: the client sends it when it has read all, so
# background processes that hold the output open need not end for the exec to end.
exec 3<&0 4>&1
exec 5> >(exec cat >&4 3<&-)
relay=$!
"${argv[@]}" < /dev/null >&5 2>&1 3<&- 4>&- 5>&-
code=$?
printf '%s' "$token" >&5
read -r -t 30 _ <&3
exec 6< "/proc/$relay/fd/0"
cat <&6 > /dev/null 2>&1 3<&- 4>&- 5>&- &   # background processes may go on printing
kill "$relay"
exit "$code"
