#!/usr/bin/env bash
# Run a task's tests, and print their results as graders of SWE-bench read them.
# It carries the files of a verifier: sed '1,/^base64 /d; /^END_OF_FILES/,$d' SCRIPT | base64 -d | tar -xzC FOLDER   unpacks them
{ set +x; } 2>/dev/null   # graders trace commands: the first marks would be those of a trace
own=$(mktemp -d) || exit 1   # a folder that nobody can have prepared
base64 -d <<'END_OF_FILES' | tar -xzC "$own" || exit 1
{files}
END_OF_FILES
python=$(command -v python3 || command -v python)
"$python" -I "$own/verify.py" marks
code=$?
rm -rf "$own"
exit $code
