cd /testbed || exit 1
git -c safe.directory='*' apply --whitespace=nowarn - <<'END_OF_PATCH'
{patch}END_OF_PATCH
