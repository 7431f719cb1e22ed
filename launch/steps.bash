# Sourced by the scripts beside it: the tree's root, one line with seconds for each step, configure and build.
caller=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }

since() { # since START: "12.3 s"
    local us=$(($(now_us) - $1))
    printf '%d.%d s' $((us / 1000000)) $((us / 100000 % 10))
}

die() { # die CODE TEXT
    printf 'launch/%s: %s\n' "$(basename "$0")" "$2" >&2
    exit "$1"
}

from_caller() { # from_caller PATH: absolute, read from the folder the script was called in
    [[ $1 == /* ]] && printf '%s\n' "$1" || printf '%s\n' "$caller/$1"
}

step() { # step TEXT COMMAND...: output goes to out/log/, of which a failure shows the end
    local text=$1 start log code=0
    shift
    start=$(now_us)
    log=out/log/${text//[^a-zA-Z0-9]/-}.log
    mkdir -p out/log
    set +e # the subshell keeps it: `if step` would switch it off inside functions
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null
    code=$?
    set -e
    if ((code != 0)); then
        tail -n 40 "$log" >&2
        die 1 "failed after $(since "$start"): $text (exit code $code; whole output: $log)"
    fi
    printf '%-48s %8s\n' "$text" "$(since "$start")"
}

[[ -z ${WEFT_TORCH:-} ]] || WEFT_TORCH=$(from_caller "$WEFT_TORCH") # so that a script called from here reads the same folder
torch_folder() { printf '%s\n' "${WEFT_TORCH:-$root/.deps/torch/torch}"; }

# A file that includes ATen takes up to 1.5 GB to compile: one job for every 2 GB that are free (or that the container has).
build_jobs() {
    local kib jobs limit=max
    kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    [[ ! -r /sys/fs/cgroup/memory.max ]] || limit=$(</sys/fs/cgroup/memory.max)
    [[ $limit == max ]] || ((limit / 1024 >= kib)) || kib=$((limit / 1024))
    jobs=$((kib / (2 * 1024 * 1024)))
    ((jobs <= $(nproc))) || jobs=$(nproc)
    ((jobs >= 1)) || jobs=1
    echo "$jobs"
}

configure() { # configure PRESET [CMAKE OPTIONS]
    step "configure preset $1" cmake --preset "$1" -DWEFT_TORCH="$(torch_folder)" "${@:2}"
}

build() { # build PRESET [TARGETS]: shows ninja's own lines
    local start jobs
    start=$(now_us)
    jobs=$(build_jobs)
    nice cmake --build --preset "$1" -j "$jobs" ${2:+--target "${@:2}"} </dev/null || die 1 "the build failed after $(since "$start")"
    printf '%-48s %8s\n' "build, $jobs at a time" "$(since "$start")"
}
