#!/bin/sh
# Installs the Debian packages that zeroth is built from, where they are missing.
#   sh apps/install-packages.sh [--tests | --tiers]
# --tests: also what only the tests need; --tiers: what the further tiers of docs/reliability.md need besides.
set -eu

packages="g++ cmake ninja-build git ca-certificates fonts-dejavu-core libarchive-dev libboost-context-dev
  libcli11-dev libcurl4-openssl-dev libdnnl-dev libfmt-dev libgloo-dev libpng-dev libssl-dev libstb-dev libtomlplusplus-dev
  libturbojpeg0-dev nlohmann-json3-dev zlib1g-dev"
case ${1:-} in --tests | --tiers) packages="$packages catch2 python3 python3-numpy python3-torch" ;; esac
[ "${1:-}" != --tiers ] || packages="$packages clang clang-tidy debootstrap gcovr libomp-dev"

if ! command -v dpkg-query > /dev/null; then
  echo "install-packages.sh knows Debian and its descendants; elsewhere install the equivalents of:" $packages >&2
  exit 0
fi
missing=""
for package in $packages; do
  case $(dpkg-query -W -f '${Status}' "$package" 2> /dev/null || true) in
    *" installed") ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
  as_root=sudo
  if ! command -v sudo > /dev/null; then
    echo "as root, install:$missing" >&2
    exit 1
  fi
fi
echo "installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
