#!/usr/bin/env bash
# Sets Easel up where needed, then starts it.  Flags are those of app.py; --repair checks every installed file first.
set -eu
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null || echo "${BASH_SOURCE[0]}")
here=$(cd -- "$(dirname -- "$self")" && pwd -P)
. "$here/find-python.sh"
find_python
exec "$PYTHON" "$here/install.py" start "$@"
