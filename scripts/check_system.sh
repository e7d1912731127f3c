#!/usr/bin/env bash
# Says which system packages are missing and how to install them; exit status 3 when any is.
set -u
python=${1:-python3}
missing=()
for tool in g++ make perl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if ! "$python" -c "" >/dev/null 2>&1; then
  missing+=(python3 python3-venv)
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: $("$python" --version) is too old: Python 3.11 or newer is needed; give another with PYTHON=..." >&2
  exit 3
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  missing+=(python3-venv)
fi
if ((${#missing[@]})); then
  echo "setup: missing system packages: ${missing[*]}" >&2
  echo "  install them with: apt-get install -y ${missing[*]}" >&2
  exit 3
fi
