#!/usr/bin/env bash
# Makes .venv with petbench (editable) and all that its tests need; with uv where pip can get it, else with pip.
# Usage: scripts/make_env.sh      (PYTHON=python3.12 chooses the interpreter; EXTRAS=dev,ray the extras)
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
extras=${EXTRAS:-dev}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "make_env: $("$python" --version 2>&1) is too old. Give Python 3.11 or newer: PYTHON=python3.11 make env" >&2
  exit 2
fi

# A machine without an NVIDIA driver gets the CPU build of torch; others keep what the registry gives.
constraints=()
if ! command -v nvidia-smi >/dev/null; then constraints=(-c constraints/cpu.txt); fi

# uv does not read pip's settings: hand over where packages come from.
setting() {
  local from_environment="PIP_$(echo "$1" | tr 'a-z-' 'A-Z_')"
  echo "${!from_environment:-$("$python" -m pip config get "global.$1" 2>/dev/null || true)}"
}
hand_over() { # NAME VALUE: leaves a value that the user gave to uv alone
  if [ -n "$2" ] && [ -z "${!1:-}" ]; then export "$1=$2"; fi
}
hand_over UV_FIND_LINKS "$(setting find-links)"
hand_over UV_DEFAULT_INDEX "$(setting index-url)"
hand_over UV_EXTRA_INDEX_URL "$(setting extra-index-url)"
hand_over UV_INDEX_STRATEGY unsafe-best-match # as pip: the best version of all indexes that the user named

with_uv() {
  local uv
  if uv=$(command -v uv); then :; else
    [ -x .uv/bin/uv ] || { "$python" -m venv .uv && .uv/bin/pip install -q uv; } || return 1
    uv=.uv/bin/uv
  fi
  [ -x .venv/bin/python ] || "$uv" venv -q --python "$(command -v "$python")" .venv || return 1
  "$uv" pip install -q -p .venv/bin/python "${constraints[@]}" -e ".[$extras]"
}
with_pip() {
  echo "make_env: uv is not to be had or failed; using pip (slower)"
  [ -x .venv/bin/pip ] || "$python" -m venv --clear .venv
  .venv/bin/pip install -q "${constraints[@]}" -e ".[$extras]"
}

with_uv || with_pip
.venv/bin/python -c 'import torch; print(f"environment ready: .venv, torch {torch.__version__}")'
