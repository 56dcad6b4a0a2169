#!/usr/bin/env bash
# Writes constraints/lock.txt: an exact version for all that pyproject and its extras dev and workspace bring, on
# Python 3.11 and later, every platform, with CUDA or without. A version that still fits stays; remove its line to get
# the newest. Run by: make lock
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh
get_uv

# Local folders stay out: their builds are one machine's, and a CPU build of torch would leave the CUDA packages unpinned.
unset UV_FIND_LINKS UV_EXTRA_INDEX_URL
.venv/bin/uv pip compile -q pyproject.toml --extra dev --extra workspace --universal --python-version 3.11 \
  --fork-strategy fewest --no-annotate --custom-compile-command 'make lock' -o "$lock"
