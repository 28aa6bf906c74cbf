#!/bin/bash
# clang-tidy over every source, kernels as the host compiles them included; .clang-tidy says what it looks for.
# Installs the packages that are missing. Ends with 0 where nothing was found.
#   bash tests/clang-tidy.sh [REGEX...]     default: every source; else those whose paths a REGEX matches
set -eu -o pipefail
cd "$(dirname "$0")/.."

sh apps/install-packages.sh --tiers
[ $# -gt 0 ] || set -- "^$PWD/(kernels|engine|models|data|apps|tests|benchmarks)/"
cmake --preset clang > /dev/null
cmake --build --preset clang --target zeroth_commit > /dev/null  # a header that the build writes
status=0
found=$(run-clang-tidy -quiet -p build/clang "$@" 2> build/clang/clang-tidy.log) || status=1
grep -v '^clang-tidy' <<< "$found" || true
[ $status -ne 0 ] || echo "clang-tidy found nothing"
exit $status
