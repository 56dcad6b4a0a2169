# Sourced by the scripts that install: the pinned uv, in .venv, and where it finds packages. Sets $python and $lock.

python=$(command -v "${PYTHON:-python3}") || { echo "${PYTHON:-python3} is not found. Name another: PYTHON=python3.11 make env" >&2; exit 2; }
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$("$python" --version 2>&1) is too old. Give Python 3.11 or newer: PYTHON=python3.11 make env" >&2
  exit 2
fi
lock=constraints/lock.txt

get_uv() {
  [ -x .venv/bin/pip ] || "$python" -m venv .venv
  .venv/bin/python -m pip install -q -c "$lock" uv
}

# uv does not read pip's settings, so they are handed over. What the user gave to uv stays.
setting() {
  local from_environment="PIP_$(echo "$1" | tr 'a-z-' 'A-Z_')"
  echo "${!from_environment:-$("$python" -m pip config get "global.$1" 2>/dev/null || true)}"
}
hand_over() {
  if [ -n "$2" ] && [ -z "${!1:-}" ]; then export "$1=$2"; fi
}
hand_over UV_FIND_LINKS "$(setting find-links)"
hand_over UV_DEFAULT_INDEX "$(setting index-url)"
hand_over UV_EXTRA_INDEX_URL "$(setting extra-index-url)"
hand_over UV_INDEX_STRATEGY unsafe-best-match # as pip: the best version of all indexes that the user named
