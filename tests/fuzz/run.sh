#!/bin/bash
# Fuzzes every target, or those that are named, with clang's libFuzzer under address and undefined behaviour sanitizers.
#   bash tests/fuzz/run.sh [--seconds N | --runs N] [TARGET...]     default: --seconds 60 of every target
# What it learns stays in build/fuzz/learned/TARGET and is where the next call begins, besides the corpus in the
# source tree. An input that a target fails on is left in build/fuzz/findings/; the exit status is 1 then. Mend the
# cause, and add the input to tests/fuzz/corpus/TARGET/ under a name that begins with "found-".
set -u -o pipefail
cd "$(dirname "$0")/../.."

limit=-max_total_time=60
case ${1:-} in
  --seconds) limit=-max_total_time=$2; shift 2 ;;
  --runs) limit=-runs=$2; shift 2 ;;
esac
[ $# -gt 0 ] || set -- $(ls tests/fuzz/corpus)

cmake --preset fuzz > /dev/null || exit 1
cmake --build --preset fuzz || exit 1

# The targets write their inputs to files: best into memory.
scratch=$(mktemp -d -p "$(test -w /dev/shm && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$scratch"' EXIT
mkdir -p build/fuzz/findings
status=0
for target in "$@"; do
  mkdir -p "build/fuzz/learned/$target"
  log=build/fuzz/learned/$target.log
  if TMPDIR=$scratch OMP_NUM_THREADS=1 "build/fuzz/tests/fuzz/zeroth_fuzz_$target" $limit -malloc_limit_mb=256 \
    -rss_limit_mb=2048 -timeout=25 -max_len=16384 -print_final_stats=1 \
    "-artifact_prefix=build/fuzz/findings/$target-" "build/fuzz/learned/$target" "tests/fuzz/corpus/$target" \
    > "$log" 2>&1; then
    result="no finding"
  else
    result="FINDING: $(grep -m 1 -E 'ERROR|runtime error|fuzz target' "$log")" status=1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1)
  printf '%-14s %10s runs  %-12s %s\n' "$target" "${runs:-?}" "${edges:-cov: ?}" "$result"
done
exit $status
