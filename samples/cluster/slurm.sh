#!/bin/bash
#SBATCH --job-name=codedata
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@600
# Run a script on all machines of a Slurm job, from a checkout (after make setup) that they share:
#   sbatch samples/cluster/slurm.sh bug_inject.py scale --root runs/mine
# Ten minutes before its time is over the run ends as after Ctrl-C; the same command goes on. SLOTS=N: items at a time on
# each machine, by default one for two cores.
set -eu
PATH=$PWD/.venv/bin:$PATH
slots=${SLOTS:-$((SLURM_CPUS_ON_NODE / 2))}
temp=/tmp/ray-$SLURM_JOB_ID   # other users have theirs
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')   # of this job
mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")   # this script runs on the first one
address=${machines[0]}:$((20000 + SLURM_JOB_ID % 10000))

node() {   # a Ray node on a machine, until the job ends
    srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --nodelist="$1" \
        ray start --block --temp-dir="$temp" --resources="{\"sandbox\": $slots}" "${@:2}" \
        >> "slurm-$SLURM_JOB_ID.nodes" 2>&1 &
}

await() {   # so many nodes, or two minutes: the run goes on with those that are there
    for _ in $(seq 60); do
        [ "$(ray status --address "$address" 2> /dev/null | grep -c ' node_')" -lt "$1" ] || break
        sleep 1
    done
}

trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT
node "${machines[0]}" --head --port="${address#*:}" --include-dashboard=false
await 1
for machine in "${machines[@]:1}"; do node "$machine" --address="$address"; done
await ${#machines[@]}
python "$@" --engine ray --ray-address "$address" &
driver=$!
trap 'kill -TERM $driver' TERM
code=0
wait $driver || code=$?
while kill -0 $driver 2> /dev/null; do   # after the signal
    code=0
    wait $driver || code=$?
done
exit $code
