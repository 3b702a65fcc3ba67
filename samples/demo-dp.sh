#!/bin/sh
# Take a seed through idea agent, builder and reviewer to an approved task: the replies of their models are recorded ones, all else is real.
# Again: nothing to do.
set -eu
root=$1
mkdir -p "$root/seeds"
for seed in $(cat samples/dp_trajectories/demo.txt); do
    cp -r samples/seed_tasks/"$seed" "$root/seeds/"
done
rm -f "$root/_address"
python samples/replay.py samples/dp_trajectories > "$root/_address" &
server=$!
trap 'kill $server' EXIT
while [ ! -s "$root/_address" ]; do sleep 0.1; done
cat > "$root/chain.toml" <<END
[llm]
base_url = "$(cat "$root/_address")"
model = "recorded"
[dp]
drafts = 1
profile = "general"
[prices]
recorded = { in = 0.0, out = 0.0 }
END
code=0
python build_dp.py agents --root "$root" --seeds "$root/seeds" --cpu-request 1 || code=$?
echo "All of it as a page, with what each check and the audit found: python status.py --root $root --html"
exit $code
