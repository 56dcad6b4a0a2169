#!/usr/bin/env bash
# Makes .venv with petbench (editable) and all that its tests need, every version as constraints/lock.txt says;
# with uv where pip can get it, else with pip.
# Usage: scripts/make_env.sh      (PYTHON=python3.12 chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

with_uv() {
  get_uv && .venv/bin/uv pip install -q --compile-bytecode -p .venv/bin/python -c "$lock" --build-constraints "$lock" -e '.[dev,workspace]'
}
with_pip() {
  echo "make_env: uv is not to be had or failed; using pip (slower)"
  # The second variable is what pip 25.3 and later read for packages that they build.
  PIP_CONSTRAINT="$lock" PIP_BUILD_CONSTRAINT="$lock" .venv/bin/python -m pip install -q -e '.[dev,workspace]'
}

with_uv || with_pip
# Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start would compile these sources anew.
.venv/bin/python -m compileall -q src
.venv/bin/python -c 'import torch; print(f"environment ready: .venv, torch {torch.__version__}")'
