#!/usr/bin/env bash
# The baseline unit, and all code outside the targets, must run on every x86-64 processor; a target must
# not export code that the linker could share with other units. Usage: check_baseline.sh BUILD_FOLDER
set -euo pipefail

objects="$(find "$1" -name '*.o' -path '*vbfast*' ! -path '*avx*')"
[ -n "$objects" ]
for object in $objects; do
    if objdump -d "$object" | grep -E '%[yz]mm|\bv[a-z0-9]+[ps][sd]\b' | head -3 | grep .; then
        echo "$object has AVX instructions" >&2
        exit 1
    fi
done

for object in $(find "$1" -name '*.o' -path '*target*'); do
    if nm -C "$object" | grep -E ' [uVW] ' | grep .; then
        echo "$object has symbols that other units could replace" >&2
        exit 1
    fi
done

# Non-temporal stores have to be ordered before another thread reads what they wrote: the driver of the
# array functions does so at the end of a task.
non_temporal=0
for object in $(find "$1" -name '*.o' -path '*target*'); do
    if objdump -d "$object" | grep -E '\bv?movnt(ps|pd)\b' >/dev/null; then non_temporal=1; fi
done
if [ "$non_temporal" = 1 ] && ! objdump -d "$(find "$1" -path '*arrays/run.cpp.o')" | grep sfence >/dev/null; then
    echo "kernels have non-temporal stores, and nothing orders those" >&2
    exit 1
fi
