# Sourced by start.sh and test.sh: leaves a Python 3.11 or newer in $PYTHON, or ends with one sentence.

find_python() {
  local candidate complete='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' old=''
  # first one that can make virtual environments, then any: install.py says what is missing in it
  for check in "$complete" 'import sys; sys.exit(sys.version_info < (3, 11))'; do
    for candidate in "${EASEL_PYTHON:-}" python3 python3.12 python3.13 python3.11 python3.14 python; do
      if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$check" >/dev/null 2>&1; then
        PYTHON=$candidate
        return 0
      fi
    done
  done
  old=$(python3 --version 2>/dev/null || true)
  echo "Easel needs Python 3.11 or newer; ${old:+this computer has $old. }$(python_advice)" >&2
  exit 1
}

python_advice() {
  local like=''
  [ -r /etc/os-release ] && like=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
  case " $like " in
    *debian* | *ubuntu*) echo "Run: sudo apt install python3 python3-venv   (on an older release: python3.11 python3.11-venv)" ;;
    *fedora* | *rhel*) echo "Run: sudo dnf install python3.12" ;;
    *arch*) echo "Run: sudo pacman -S python" ;;
    *suse*) echo "Run: sudo zypper install python312" ;;
    *) echo "Get one from https://www.python.org/downloads/ or set EASEL_PYTHON to where it is." ;;
  esac
}
