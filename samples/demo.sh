#!/bin/sh
# A duel whose replies were kept, then four turns with the embedded model. Again: nothing to do.
set -eu
root=$1
live=$root-live
mkdir -p "$root"
rm -f "$root/_address"
python samples/replay.py samples/duel_by_hand > "$root/_address" &
server=$!
trap 'kill $server' EXIT
[ -e "$root/prompt" ] || python samples/duel_input.py "$root"
while [ ! -s "$root/_address" ]; do sleep 0.1; done
address=$(sed 's|/v1$||' "$root/_address")

settings() {   # chain.toml, each role a path of the server; $1: what the page says first
    cat <<END
[llm]
model = "recorded"
endpoint = "challenger"
[king]
endpoint = "king"
[judge]
models = [{ model = "recorded", name = "panel", endpoint = "panel" }]
[leak]
models = [{ model = "recorded", name = "leak", endpoint = "leak" }]
king_share = 1.0
[report]
note = "$1"
[prices]
recorded = { in = 0.0, out = 0.0 }
END
    for role in king challenger leak panel; do
        printf '[endpoints.%s]\nbase_url = "%s/%s/v1"\n' $role "$address" $role
    done
}
note="The replies were written by a strong model, from the requests alone, and kept"
settings "$note." > "$root/chain.toml"
code=0
tools/chain "king ch validate" --root "$root" || code=$?
n_changed=$(python -c 'import json, sys, urllib.request as u; print(json.load(u.urlopen(sys.argv[1]))["changed"])' "$address")
[ "$n_changed" = 0 ] || settings "$note. $n_changed requests have changed since: they got the reply of the same turn." > "$root/chain.toml"
tools/chain "report export" --root "$root" || code=$?

echo
echo "Now live: the same scripts on four turns with a small model on this machine. What it says is worth nothing as data."
sh samples/demo-model.sh "$live" 4 || code=$?
echo
echo "The kept duel: open $root/report/report.html in a browser (or read report.md); its turns are in$(
    for name in final refined defeat; do [ -z "$(ls "$root/$name" 2>/dev/null)" ] || printf ' %s/' "$root/$name"; done)."
echo "Training sets made of it, each with a card: $root/export/. The live one: $live/report/report.html"
echo "Look at a record, change it, and run \`make demo\` again; or see where all of it stands: make status"
exit $code
