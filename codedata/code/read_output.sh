# Not all results are in JUnit XML: read what else the runners wrote and printed
mkdir -p "$own/codedata/code"
touch "$own/codedata/__init__.py"   # else a package of this name elsewhere would be first
cp "$own/junit.py" "$own/codedata/code"
cat >"$own/__main__.py" <<'END_OF_READER'
{reader}END_OF_READER
cat >"$own/patterns.json" <<'END_OF_PATTERNS'
{patterns}
END_OF_PATTERNS
lines=$("$python" -I "$own" {results} {log})
