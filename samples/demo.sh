#!/bin/sh
# A duel whose replies were kept: no key, no network. Again: nothing to do.
set -eu
home=$(cd "$(dirname "$0")/.." && pwd)
python=${CODEDATA_PYTHON:-python} make=${CODEDATA:-make} mine="ROOT=runs/mine"
[ "$make" = make ] || mine="--root runs/mine"
root=$1
case $#${2:-} in
1) ;;
3--root) root=$3 ;;
*) echo "demo: it takes --root DIR, and nothing else" >&2
   exit 2 ;;
esac
if [ -e "$root/chain.toml" ] && ! grep -q '^model = "recorded"$' "$root/chain.toml"; then
    echo "demo: $root/ has settings of its own: give it another root" >&2
    exit 2
fi
again=
[ "$root" = "$1" ] || again=" --root $root"
mkdir -p "$root"
rm -f "$root/_address"
"$python" "$home/samples/replay.py" "$home/samples/duel_by_hand" > "$root/_address" &
server=$!
trap 'kill $server' EXIT
[ -e "$root/prompt" ] || "$python" "$home/samples/duel_input.py" "$root"
while [ ! -s "$root/_address" ]; do sleep 0.1; done
address=$(sed 's|/v1$||' "$root/_address")

{   # each role is a path of the server
    cat <<END
[llm]
model = "recorded"
endpoint = "challenger"
[king]
endpoint = "king"
[judge]
models = [
    { model = "recorded", name = "panel_a", endpoint = "panel_a" },
    { model = "recorded", name = "panel_b", endpoint = "panel_b" },
]
[leak]
models = [{ model = "recorded", name = "leak", endpoint = "leak" }]
king_share = 0.0
[report]
note = "The replies were written by a strong model, from the requests alone, and kept."
[prices]
recorded = { in = 0.0, out = 0.0 }
END
    for role in king challenger leak panel_a panel_b; do
        printf '[endpoints.%s]\nbase_url = "%s/%s/v1"\n' $role "$address" $role
    done
} > "$root/chain.toml"
code=0
"$python" "$home/tools/chain" "king ch validate report export report:--quiet" --root "$root" || code=$?
"$python" "$home/samples/show_pairs.py" "$root"
echo
echo "All of it on one page: $root/index.html   Sets, with cards: $root/export/"
echo "Change a record, and run \`$make demo$again\` again: what hangs on it is made anew."
echo "Your own data: README.md, \"Bring your own model\"; then $make duel $mine"
exit $code
