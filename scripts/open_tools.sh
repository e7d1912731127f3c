#!/usr/bin/env bash
# Makes a Debian sid tree with the open place-and-route tools for the PYNQ-Z2: `scripts/open_tools.sh DIR`, then
# `subrow build --flow open --tools DIR`. Needs root (debootstrap) and 1.2 GB; nothing outside DIR changes.
set -euo pipefail
packages=nextpnr-himbaechel-xilinx,prjxray,prjxray-database
if [ $# -ne 1 ]; then
  echo "usage: $0 DIR" >&2
  exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "$0: must run as root, because debootstrap does: sudo $0 $1" >&2
  exit 2
fi
if ! command -v debootstrap >/dev/null; then
  echo "$0: missing system package: debootstrap; install it with: apt-get install -y debootstrap" >&2
  exit 3
fi
if [ -x "$1/usr/bin/nextpnr-himbaechel-xilinx" ] && [ -x "$1/usr/bin/bitread" ]; then
  echo "$1 has the tools already"
  exit 0
fi
part=$1.part
rm -rf "$part"
debootstrap --variant=minbase --include="$packages" sid "$part"
mv "$part" "$1"
echo "give --tools $1"
