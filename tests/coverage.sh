#!/bin/bash
# Runs every test in a build that counts lines, and prints for each folder how many of its lines ran.
# Installs the packages that are missing. A test that fails fails this too.
#   bash tests/coverage.sh
set -eu -o pipefail
cd "$(dirname "$0")/.."

find build/coverage -name '*.gcda' -delete 2> /dev/null || true  # counts of an earlier run
status=0
bash tests/run-all.sh coverage || status=1
gcovr --root . --object-directory build/coverage --filter '(engine|kernels|models|data|apps)/' \
  --json-summary build/coverage/summary.json -j 2 build/coverage
python3 - build/coverage/summary.json << 'END'
import collections, json, sys

files = json.load(open(sys.argv[1], encoding="utf-8"))["files"]
ran, lines = collections.Counter(), collections.Counter()
for file in files:
    for folder in (file["filename"].split("/")[0], "all"):
        ran[folder] += file["line_covered"]
        lines[folder] += file["line_total"]
print(f"{'folder':10} {'lines':>7} {'ran':>7}")
for folder in sorted(lines, key=lambda name: (name == "all", name)):
    print(f"{folder:10} {lines[folder]:7} {100 * ran[folder] / lines[folder]:6.1f} %")
print("least covered:")
for file in sorted(files, key=lambda file: file["line_covered"] - file["line_total"])[:15]:
    print(f"  {file['filename']:50} {file['line_total'] - file['line_covered']:4} of {file['line_total']} lines never ran")
END
exit $status
