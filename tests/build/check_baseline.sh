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

# Stores past the caches have to be ordered before another thread reads what they wrote: the driver of the
# array functions sees to that at the end of a task.
streams=0
for object in $(find "$1" -name '*.o' -path '*target*'); do
    if objdump -d "$object" | grep -E '\bv?movnt(ps|pd)\b' >/dev/null; then streams=1; fi
done
if [ "$streams" = 1 ] && ! objdump -d "$(find "$1" -path '*arrays/run.cpp.o')" | grep sfence >/dev/null; then
    echo "kernels store past the caches, and nothing orders those stores" >&2
    exit 1
fi
