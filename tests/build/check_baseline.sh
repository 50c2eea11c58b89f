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
