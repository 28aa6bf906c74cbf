#!/bin/bash
# Runs every test: a release build with CUDA where it is found, then address and undefined behaviour sanitizers,
# then thread sanitizer on the CUDA kernels run on the host (OpenMP keeps to one thread there: the sanitizer does not
# see its barriers). Installs the packages that are missing.
#   bash tests/run-all.sh [PRESET...]     default: default debug-asan tsan
set -u -o pipefail
cd "$(dirname "$0")/.."

sh apps/install-packages.sh --tests || exit 1

[ $# -gt 0 ] || set -- default debug-asan tsan
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0 summary="" total=0 failed=0 skipped=0
for preset in "$@"; do
  SECONDS=0
  cmake --workflow --preset "$preset" 2>&1 | tee "$log" || status=1
  result=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+$' "$log" | tail -n 1)
  skips=$(grep -c '\*\*\*Skipped' "$log")
  if [ -n "$result" ]; then
    numbers=${result#*, }
    failed=$((failed + ${numbers%% *})) total=$((total + ${numbers##* })) skipped=$((skipped + skips))
  else
    result="no tests ran" status=1
  fi
  summary+=$(printf '%-12s %s, %d skipped (%d s)' "$preset" "$result" "$skips" "$SECONDS")$'\n'
done

printf '\n%s' "$summary"
[ "$failed" -eq 0 ] || status=1
percent=$((total > 0 ? (total - failed) * 100 / total : 0))
echo "$percent% tests passed, $failed tests failed out of $total"
echo "$skipped of them skipped; exit status $status"
exit $status
