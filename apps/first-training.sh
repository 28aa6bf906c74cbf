#!/bin/sh
# From a fresh clone to a first trained network: installs packages, builds the program, gets CIFAR-10, trains.
#   sh apps/first-training.sh [flags of zeroth train]
# With --data among the flags, or ZEROTH_DATA in the environment, nothing is downloaded. Without a network the
# training runs on pictures that zeroth generates.
set -eu
# The paths among the flags are those of the folder the user stands in, and runs/ is made there.
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)

sh "$root/apps/install-packages.sh"
(cd "$root" && cmake --workflow --preset program)
zeroth=$root/build/program/apps/zeroth

fetch=yes
[ -z "${ZEROTH_DATA:-}" ] || fetch=no
for argument in "$@"; do
  case $argument in --data | --data=* | --config | --config=* | --resume | --resume=*) fetch=no ;; esac
done
# What went wrong, fetch says itself; train then says which pictures it takes.
[ $fetch = no ] || "$zeroth" data fetch cifar10 || true

echo "$zeroth train $*" >&2
exec "$zeroth" train "$@"
