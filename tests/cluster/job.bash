# Sourced by the tests beside it: a small job, its hashes on one rank, and the comparison with them.
#   TEST [PROGRAM [WORK]]   the program (default: build/default/src/weft) and a folder that is made anew (default: out/TEST)
set -euo pipefail
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
name=$(basename "$0")
weft=$(realpath "${1:-$tree/build/default/src/weft}") work=$(realpath -m "${2:-$tree/out/$name}")
# The limit ends this script by TERM, so that it tidies up whatever happens.
[[ -n ${WEFT_TEST_INSIDE:-} ]] || WEFT_TEST_INSIDE=1 exec timeout -k 60 "${limit_s:?}" "$0" "$weft" "$work"
unset WEFT_TEST_INSIDE
trap 'echo "$name: ended by a signal, or after its limit of $limit_s s" >&2; exit 1' TERM INT
export WEFT_PROGRAM=$weft OMP_NUM_THREADS=1
failures=0

wrong() {
    echo "$name: FAILED: $1" >&2
    failures=$((failures + 1))
}
give_up() {
    wrong "$1"
    exit 1
}
within() { # within SECONDS COMMAND...: until it succeeds
    local left=$(($1 * 10))
    until "${@:2}"; do ((left-- > 0)) && sleep 0.1 || return 1; done
}

# A person of 64 poses (the example's, to and fro), so that there are slices for all.
make_job() {
    local i
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work"
    "$weft" make-model --tiny model >/dev/null
    for ((i = 40; i <= 64; i++)); do ln -s "$(printf '%05d.png' $((78 - i)))" "model/example/pose/$(printf '%05d.png' "$i")"; done
}

# job NAME: the arguments of `weft generate` for the job that leaves NAME.h5, NAME.mkv, NAME.jsonl and NAME.status
job() { job=(model/example/config.toml --events "$1.jsonl" --set "output.run_file=$1.h5" --set "output.video=$1.mkv" --set sampling.steps=8); }

steps_done() { if [[ -e $1.jsonl ]]; then grep -c '"event":"step"' "$1.jsonl" || true; else echo 0; fi; }
# shellcheck disable=SC2317,SC2329 # called by within
has_steps() { (($(steps_done "$1") >= $2)); } # has_steps NAME COUNT

hashes() { # hashes NAME: of the latents after each step (each saved step once, whichever start computed it), of the run file, and of the frames
    sed -n 's/.*"event":"step".*"step":\([0-9]*\),.*"hash":"\([0-9a-f]*\)".*/step \1 \2/p' "$1.jsonl" | sort -u
    "$weft" inspect --hash "$1.h5" | sed "s/  .* step/ run file, step/"
    "$weft" inspect --hash "$1.mkv" | sed "s/  .*/ film/"
}

same_bits() { # same_bits NAME TEXT: as the one-rank run
    hashes "$1" >"$1.hashes" || true
    if diff one.hashes "$1.hashes" >&2; then
        printf '%-76s same bits, %d hashes\n' "$2" "$(wc -l <"$1.hashes")"
    else
        wrong "$2: other hashes than on one rank (left: one rank)"
    fi
}

one_rank() {
    job one
    "$weft" generate "${job[@]}" >one.log
    hashes one >one.hashes
    (($(wc -l <one.hashes) == 10)) || give_up "the one-rank run gave $(wc -l <one.hashes) hashes and not 10: $(cat one.hashes)"
}

finish() {
    ((failures == 0)) || exit 1
    echo "$name: all as it should be"
}
