#!/bin/sh
# A duel whose replies were kept: no key, no network. Again: nothing to do.
set -eu
home=$(cd "$(dirname "$0")/.." && pwd)
python=${CODEDATA_PYTHON:-python} make=${CODEDATA:-make}
root=$1
shift
if [ "${1:-}" = --root ]; then
    root=$2
    shift 2
fi
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
sh "$home/tools/chain" "king ch validate report export" --root "$root" "$@" || code=$?
"$python" "$home/samples/show_pairs.py" "$root"
echo
echo "All of it: open $root/report/report.html in a browser (or read report.md); the turns are in$(
    for name in final refined defeat; do [ -z "$(ls "$root/$name" 2>/dev/null)" ] || printf ' %s/' "$root/$name"; done)."
echo "Training sets made of it, each with a card: $root/export/. Look at a record, change it, and run \`$make demo\` again; or see where all of it stands: $make status${CODEDATA:+ --root $root}"
echo "Live, with a small model on this machine whose words are worth nothing as data: $make demo-model"
exit $code
