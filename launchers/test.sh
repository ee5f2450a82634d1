#!/usr/bin/env bash
# Installs what the tests need, then runs them: the fast ones, or every one with --all (or where CI is set).
# Other arguments go to pytest:  bash launchers/test.sh tests/engine -k resume
set -eu
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null || echo "${BASH_SOURCE[0]}")
here=$(cd -- "$(dirname -- "$self")" && pwd -P)
. "$here/find-python.sh"

all=${CI:+yes}
if [ "${1:-}" = --all ]; then
  all=yes
  shift
fi

find_chromium() {
  local candidate
  for candidate in "${EASEL_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then
      EASEL_CHROMIUM=$(command -v "$candidate")
      export EASEL_CHROMIUM
      return 0
    fi
  done
  return 1
}

install_chromium() {
  find_chromium && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core >/dev/null
    find_chromium && return 0
  fi
  echo "The browser tests need Chromium. Run: sudo apt install chromium   (or set EASEL_CHROMIUM to a Chrome or Chromium)" >&2
  exit 1
}

install_sshd() {
  command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing OpenSSH's server for the tests of other machines"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server >/dev/null && return 0
  fi
  echo "Without OpenSSH's server the tests of other machines are skipped. Run: sudo apt install openssh-server" >&2
}

AXE=4.14.1  # the browser tests look for faults of accessibility with it

install_axe() {
  EASEL_AXE=$here/../.easel/axe-$AXE/node_modules/axe-core/axe.min.js
  export EASEL_AXE
  [ -f "$EASEL_AXE" ] && return 0
  if ! command -v npm >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing npm for axe-core"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
  fi
  if command -v npm >/dev/null 2>&1 && npm install --silent --no-audit --no-fund --prefix "$here/../.easel/axe-$AXE" "axe-core@$AXE" >/dev/null && [ -f "$EASEL_AXE" ]; then
    return 0
  fi
  echo "The browser tests need axe-core $AXE. Install npm, or set EASEL_AXE to its axe.min.js" >&2
  exit 1
}

find_python
"$PYTHON" "$here/install.py" ensure --dev
python=$("$PYTHON" "$here/install.py" python)
if [ -n "$all" ]; then
  install_chromium
  install_sshd
  [ -f "${EASEL_AXE:-}" ] || install_axe
fi

cd "$here/.."
"$python" -m ruff check .
[ -z "$all" ] || "$python" -m mypy
# side by side: the tests are independent of each other, and each runs on one thread
side_by_side="-n auto --maxprocesses 4 --dist worksteal"
if [ -n "$all" ]; then
  exec "$python" -m pytest $side_by_side -m "" --durations=25 --durations-min=5 "$@"
fi
# one more than cores: the fast ones often wait for a process or a thread
PYTEST_XDIST_AUTO_NUM_WORKERS=$("$python" -c "import os; print((os.cpu_count() or 1) + 1)")
export PYTEST_XDIST_AUTO_NUM_WORKERS
exec "$python" -m pytest $side_by_side "$@"
