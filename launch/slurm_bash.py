"""The fixed parts of the sbatch text, in bash. What differs between jobs is in variables that slurm_script.py sets.

here, step      words before a command: on this node; on a node of choice (srun)
command, ready  the driver; what waits for Ray's nodes
scratch, log, nodes, amounts, requeue, most_restarts
patience        seconds that a driver has to save in once USR1 has come
"""

ENVIRONMENT = """\
# A task of an array has a number of its own; SLURM_JOB_ID of one of them is the whole array's.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
echo "job $job on $SLURM_JOB_NODELIST, start $((${SLURM_RESTART_COUNT:-0} + 1)), $(date '+%F %T')"
# A token of this job's own: without one Ray decides by what it finds in the home directory.
RAY_AUTH_TOKEN=$(od -A n -t x1 -N 16 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_TRAIN_V2_ENABLED=1 RAY_worker_niceness=0
export TOKENIZERS_PARALLELISM=false COLUMNS=140
unset RAY_ADDRESS
# Short, since the paths of Ray's sockets in it may have 107 bytes.
RAY_TMPDIR=$(mktemp --directory /tmp/sandwich-XXXXXX)
export RAY_TMPDIR TMPDIR=$scratch/${RAY_TMPDIR##*/}.tmp"""

SIGNALS = """\
driver='' signalled='' deadline=''
forward() {
    echo "SIG$1 from SLURM, $(date '+%F %T')"
    signalled=$1
    if [ "$1" = USR1 ] && [ -z "$deadline" ]; then deadline=$((SECONDS + patience)); fi
    if [ -n "$driver" ]; then kill -s "$1" "$driver" 2>/dev/null; else finish "$requeue"; fi
}
trap 'forward USR1' USR1
trap 'forward TERM' TERM

finish() {
    trap '' USR1 TERM
    clean_up
    # SLURM no longer calls a job RUNNING that it is ending already (scancel, time limit); that one must not come back.
    if [ "$1" -eq "$requeue" ] && [ "$(squeue --noheader --jobs="$job" --format=%T)" = RUNNING ]; then
        if [ "${SLURM_RESTART_COUNT:-0}" -ge "$most_restarts" ]; then
            echo "not queued again: $most_restarts restarts were allowed (slurm.most_restarts)"
        elif scontrol show job "$job" | grep -q 'Requeue=0'; then
            echo "cancelled, and not queued again"
            scancel "$job"
        else
            scontrol requeue "$job" && echo "queued again"
        fi
    fi
    exit "$1"
}"""

ONE_NODE = """\
clean_up() { rm -rf "$RAY_TMPDIR" "$TMPDIR"; }
mkdir -p "$TMPDIR" && chmod 700 "$TMPDIR\""""

RAY = """\
everywhere=(srun --overlap --export=ALL --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1)
steps=()
running() { # how many of the steps
    local count=0 process
    for process in "${steps[@]}"; do if kill -0 "$process" 2>/dev/null; then count=$((count + 1)); fi; done
    echo "$count"
}
clean_up() {
    kill "${steps[@]}" 2>/dev/null
    for _ in {1..20}; do if [ "$(running)" -gt 0 ]; then sleep 0.5; fi; done
    # A cancelled job may start no step: then at least here.
    timeout 10 "${everywhere[@]}" rm -rf "$RAY_TMPDIR" "$TMPDIR" 2>/dev/null || rm -rf "$RAY_TMPDIR" "$TMPDIR"
}
"${everywhere[@]}" mkdir -p -m 700 "$RAY_TMPDIR" "$TMPDIR" || finish 1

address=$(hostname --ip-address | tr ' ' '\\n' | grep -v -e '^127\\.' -e : | head -n 1)
# Where a host's own name means loopback.
if [ -z "$address" ]; then address=$(hostname --all-ip-addresses | cut -d ' ' -f 1); fi
port=$((20000 + SLURM_JOB_ID % 5000 * 2))
# 0: any free port. Other jobs may run on the same node.
options=(--block "${amounts[@]}" --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0
    --object-spilling-directory="$TMPDIR")
"${step[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" "${ray[@]}" start --head \\
    --node-ip-address="$address" --port="$port" --ray-client-server-port=$((port + 1)) --include-dashboard=false \\
    "${options[@]}" >>"$log.ray-head.log" 2>&1 &
steps+=($!)
"${step[@]}" --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$SLURMD_NODENAME" "${ray[@]}" start \\
    --address="$address:$port" "${options[@]}" >>"$log.ray-workers.log" 2>&1 &
steps+=($!)
export RAY_ADDRESS=$address:$port

"${ready[@]}" &
driver=$!
while kill -0 "$driver" 2>/dev/null; do
    if [ "$(running)" -lt 2 ]; then kill "$driver" 2>/dev/null; fi
    sleep 0.5
done
if ! wait "$driver"; then
    if [ -n "$signalled" ]; then finish "$requeue"; fi
    echo "Ray did not start on all nodes: see $log.ray-head.log and $log.ray-workers.log"
    finish 1
fi
driver=''"""

DRIVER = """\
late=''
"${command[@]}" &
driver=$!
# A trap interrupts wait; the last one gives the driver's own exit code.
while kill -0 "$driver" 2>/dev/null; do
    if [ -z "$deadline" ]; then
        wait "$driver"
    elif [ "$SECONDS" -lt "$deadline" ]; then
        sleep 1 &
        wait "$!"
    elif [ -z "$late" ]; then
        echo "not saved $patience s after SIGUSR1: ended, to go on from the last checkpoint (slurm.signal_seconds)"
        kill -s TERM "$driver" 2>/dev/null
        late=yes deadline=$((SECONDS + 5))
    else
        # SLURM queues no job again that it ends itself: it must have ended before.
        kill -s KILL "$driver" 2>/dev/null
        sleep 0.1
    fi
done
wait "$driver"
code=$?
# Killed by the signal before it could catch it: there was nothing to save yet.
if [ -n "$signalled" ] && [ "$code" -gt 128 ]; then code=$requeue; fi
# A preemption without USR1 ends the steps of srun, Ray in them, and so the driver.
if [ "$code" -ne 0 ] && scontrol show job "$job" | grep -q 'PreemptTime=[0-9]'; then code=$requeue; fi
finish "$code\""""
