#!/bin/sh
# Walks through the README on a clean machine: a fresh Debian 12 in FOLDER with a clone of this repository in
# /root/zeroth, and in it each SCRIPT in turn. Needs root and debootstrap; takes the package mirror of this machine.
#   sh tests/clean_machine.sh FOLDER [SCRIPT...]     default: apps/first-training.sh tests/run-all.sh
# A FOLDER that holds a system already is used as it is, and the clone in it is made anew.
set -eu

root=${1:?"usage: sh tests/clean_machine.sh FOLDER [SCRIPT...]"}
shift
[ $# -gt 0 ] || set -- apps/first-training.sh tests/run-all.sh
source=$(cd "$(dirname "$0")/.." && pwd)

if [ ! -e "$root/etc/debian_version" ]; then
  debootstrap --variant=minbase --include=ca-certificates,git bookworm "$root"
fi
rm -rf "$root/root/zeroth" "$root/etc/apt/sources.list"
if [ -e /etc/apt/sources.list ]; then cp /etc/apt/sources.list "$root/etc/apt/"; fi
if [ -e /etc/apt/sources.list.d/debian.sources ]; then
  cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
fi
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*proxy* /etc/resolv.conf; do
  if [ -e "$file" ]; then cp -L "$file" "$root$file"; fi
done

git clone --quiet --no-local "$source" "$root/root/zeroth"
for script in "$@"; do
  echo "== $script"
  start=$(date +%s)
  # shellcheck disable=SC2016  # the inner shell expands them
  unshare --mount sh -c '
    mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" || exit 1
    exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" bash -c "cd /root/zeroth && bash $2"
  ' sh "$root" "$script"
  echo "== $script: $(($(date +%s) - start)) s"
done
