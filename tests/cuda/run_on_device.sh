#!/usr/bin/env bash
# Builds the CUDA backend on a machine with a GPU, checks it there, and times it, all within eight
# minutes.
#
#     tests/cuda/run_on_device.sh                with a CUDA toolkit, and what its Python has
#     WHEELS=.whl tests/cuda/run_on_device.sh    wheels for what that Python lacks
#     EMULATED=1 tests/cuda/run_on_device.sh     the same steps without a GPU, on emulated kernels
#
# PYTHON names the interpreter, by default python3. In the folder OUT, by default build/device, are
# then `steps`, what each step took; `log`, all that they printed; and `cuda.json`, of bench/cuda.py.
# A step that fails or runs out of time does not keep others from running; the status is the worst.
set -u
cd "$(dirname "$0")/../.."

out="${OUT:-build/device}"
emulated="${EMULATED:-}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
: >"$out/log" >"$out/steps"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
outer="$(command -v "${PYTHON:-python3}")" || { echo "there is no ${PYTHON:-python3}" >&2; exit 1; }
python="$scratch/venv/bin/python"
# Tools that came with that Python, and the toolkit where it is installed.
PATH="$scratch/venv/bin:$(dirname "$("$outer" -c 'import sys; print(sys.executable)')"):$PATH:/usr/local/cuda/bin"
export PYTHONUNBUFFERED=1

worst=0 until=0

# Runs a step that may take so many seconds, and what is left of those before it.
step() {
    local name="$1" began="$SECONDS" left status
    until=$((until + $2))
    left=$((until - SECONDS))
    shift 2
    printf '== %s\n' "$name" | tee -a "$out/log"
    # A shell of its own, so that the time limit holds for functions.
    timeout -k 5 "$((left > 5 ? left : 5))" bash -c 'set -eu; "$@"' bash "$@" >"$scratch/step" 2>&1
    status=$?
    cat "$scratch/step" >>"$out/log"
    tail -n "$((status == 0 ? 3 : 25))" "$scratch/step"
    case $status in
        0) note="done" ;;
        77) note="left out" status=0 ;;
        124 | 137) note="out of time" ;;
        *) note="failed, $status" ;;
    esac
    printf '%-12s %4d s  %s\n' "$name" "$((SECONDS - began))" "$note" | tee -a "$out/steps"
    if [ "$status" -gt "$worst" ]; then worst=$status; fi
}

# What the outer Python has is there too, also if that is a virtual environment itself.
environment() {
    "$outer" -m venv --system-site-packages --without-pip "$scratch/venv"
    "$outer" -c 'import site; print(*site.getsitepackages(), sep="\n")' \
        >"$("$python" -c 'import site; print(site.getsitepackages()[0])')/outer.pth"
    if [ -n "${WHEELS:-}" ]; then "$python" -m pip install -q --no-index --no-deps "$WHEELS"/*.whl; fi
    "$python" -c 'import numpy, platform; print("Python", platform.python_version(), "NumPy", numpy.__version__)'
}

# For this machine's GPU. Of the CPU's instruction sets those that results are compared with. The
# emulated module goes with the vbfast that is installed; a compiler cache has its objects, if the
# preset cuda-emulated has been built.
build() {
    local options=(-Ccmake.define.VBFAST_CUDA=ON "-Ccmake.define.VBFAST_LEVELS=baseline;avx2" .)
    if [ -n "$emulated" ]; then
        options=(-Cbuild-dir="$PWD/build/cuda-device" -Ccmake.define.VBFAST_CUDA=OFF
            -Ccmake.define.VBFAST_EMULATE_CUDA=ON -Ccmake.define.VBFAST_WERROR=ON ./csrc/cuda)
    fi
    "$python" -m pip install -q --no-index --no-deps --no-build-isolation "${options[@]}"
}

# Away from the sources: what is imported is what was installed.
info() {
    if [ -z "$emulated" ]; then nvidia-smi || true; fi
    cd "$scratch"
    "$python" -c 'import vbfast; vbfast.show_config()'
    "$python" -c 'from vbfast.backends.cuda.extension import require_device; require_device()'
}

# Those first that say most.
tests() {
    local first=(against_reference statistics evidence terms gradient seeding reproducibility edges linear)
    local files=("${first[@]/#/tests/backends/test_}") file options=(-n 8 --dist worksteal)
    files=("${files[@]/%/.py}")
    for file in tests/backends/test_*.py tests/estimators/test_cuda.py; do
        if [[ " ${files[*]} " != *" $file "* ]]; then files+=("$file"); fi
    done
    "$python" -c 'import xdist' 2>/dev/null || options=()
    # The others take minutes there, in a stage of CI.
    if [ -n "$emulated" ]; then files=(tests/backends/test_cuda_passes.py) options=(); fi
    # Without the module or a device this fails, where tests would be skipped.
    VBFAST_TEST_CUDA="$("$python" -c 'from vbfast.backends.cuda.extension import load_extension
print(load_extension().__file__)')"
    export VBFAST_TEST_CUDA
    # Warnings are those of this machine's versions.
    OPENBLAS_NUM_THREADS=1 "$python" -m pytest -q -p no:cacheprovider -o filterwarnings=default \
        --maxfail=25 ${options[@]+"${options[@]}"} -k cuda "${files[@]}"
}

kernels() { "$python" tests/cuda/every_kernel.py; }

# Runs the kernels under a tool of compute-sanitizer.
sanitized() {
    if [ -n "$emulated" ]; then echo "emulated kernels have no such tool"; return 77; fi
    if ! command -v compute-sanitizer >/dev/null; then
        echo "this machine has no compute-sanitizer"
        return 77
    fi
    local status
    compute-sanitizer --tool "$1" --error-exitcode 9 "$python" tests/cuda/every_kernel.py 2>&1 |
        tee "$scratch/sanitized"
    status="${PIPESTATUS[0]}"
    if grep -q "Device not supported" "$scratch/sanitized"; then return 77; fi
    return "$status"
}

bench() {
    "$python" bench/cuda.py --json-file "$out/cuda.json" ${emulated:+--quick --repeats 1}
}

export outer python scratch out emulated
export -f environment build info kernels tests sanitized bench
step environment 15 environment
step build 135 build
step info 10 info
step kernels 25 kernels
step tests 85 tests
step memcheck 40 sanitized memcheck
step racecheck 40 sanitized racecheck
step bench 120 bench
printf '%s s in all\n' "$SECONDS" | tee -a "$out/steps"
exit "$worst"
