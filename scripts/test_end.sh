#!/usr/bin/env bash
# Runs the tests that touch other packages against one end of pyproject's bounds, in an environment of its own, and
# notes the versions in src/petbench/machine/tested.json when they pass.
# Usage: scripts/test_end.sh newest|oldest [PYTEST OPTION ...]      Run by: make test-newest, make test-oldest
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  newest) resolution=highest ;;
  oldest) resolution=lowest-direct ;;
  *) echo "test_end: got '${1:-}'. Legal: newest, oldest" >&2; exit 2 ;;
esac
end=$1
shift
. scripts/uv.sh
get_uv
export PATH="$PWD/.venv/bin:$PATH"

venv=.venv-$end
uv venv -q --clear -p "$python" "$venv"
uv pip install -q -p "$venv/bin/python" --resolution "$resolution" -e '.[dev]'
"$venv/bin/python" scripts/fetch_weights.py
"$venv/bin/python" scripts/note_tested.py "$end"
OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false "$venv/bin/python" -m pytest "$@" tests/parity tests/conformance \
  tests/unit/adapters tests/unit/models tests/unit/tuned
"$venv/bin/python" scripts/note_tested.py "$end" --write
