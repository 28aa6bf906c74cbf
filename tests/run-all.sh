#!/bin/bash
# Configures, builds and tests one preset after the other, and sums up. Installs the packages that are missing.
#   bash tests/run-all.sh [PRESET...]     default: default debug-asan tsan
# docs/reliability.md says what each proves.
set -u -o pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- default debug-asan tsan
packages=--tests
for preset in "$@"; do
  case $preset in default | cuda | debug-asan* | tsan | simt-orders) ;; *) packages=--tiers ;; esac
done
sh apps/install-packages.sh $packages || exit 1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0 summary="" total=0 failed=0 skipped=0
for preset in "$@"; do
  SECONDS=0
  cmake --workflow --preset "$preset" 2>&1 | tee "$log" || status=1
  # A preset may test several times: in several thread orders, for one.
  results=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+$' "$log")
  skips=$(grep -c '\*\*\*Skipped' "$log")
  here=0 bad=0
  while read -r _ _ _ count _ _ _ _ all; do
    bad=$((bad + ${count:-0})) here=$((here + ${all:-0}))
  done <<< "$results"
  [ "$here" -gt 0 ] || status=1
  failed=$((failed + bad)) total=$((total + here)) skipped=$((skipped + skips))
  summary+=$(printf '%-14s %d of %d failed, %d skipped (%d s)' "$preset" "$bad" "$here" "$skips" "$SECONDS")$'\n'
done

printf '\n%s' "$summary"
[ "$failed" -eq 0 ] || status=1
percent=$((total > 0 ? (total - failed) * 100 / total : 0))
echo "$percent% tests passed, $failed tests failed out of $total"
echo "$skipped of them skipped; exit status $status"
exit $status
