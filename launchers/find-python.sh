# Sourced by start.sh, start.command and test.sh: leaves a Python 3.11 to 3.14 in $PYTHON, or ends with one sentence.

find_python() {
  local candidate check fits='import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 14)' old=''
  # the first one that can make virtual environments, then any that fits: install.py says what is missing in it
  for check in "$fits; import venv, ensurepip; sys.exit(not ok)" "$fits; sys.exit(not ok)"; do
    while IFS= read -r candidate; do
      if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$check" >/dev/null 2>&1; then
        PYTHON=$candidate
        return 0
      fi
    done <<END
$(python_candidates)
END
  done
  old=$(python3 --version 2>/dev/null || true)
  echo "Easel needs Python 3.11 to 3.14; ${old:+this computer has $old. }$(python_advice)" >&2
  exit 1
}

# One a line, the best first.
python_candidates() {
  local version
  printf '%s\n' "${EASEL_PYTHON:-}" python3
  for version in 3.12 3.13 3.11 3.14; do
    # what the Finder starts knows no Homebrew, and python.org's are not always on the path
    printf '%s\n' "python$version" "/opt/homebrew/bin/python$version" "/usr/local/bin/python$version" \
      "/Library/Frameworks/Python.framework/Versions/$version/bin/python3"
  done
  printf '%s\n' python
  command -v uv >/dev/null 2>&1 && uv python find --no-python-downloads '>=3.11,<3.15' 2>/dev/null || true
}

python_advice() {
  local like=''
  [ -r /etc/os-release ] && like=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
  case " $like " in
    *debian* | *ubuntu*) echo "Run: sudo apt install python3 python3-venv   (on an older release: python3.11 python3.11-venv)" ;;
    *fedora* | *rhel*) echo "Run: sudo dnf install python3.12" ;;
    *arch*) echo "Run: sudo pacman -S uv && uv python install 3.12" ;;
    *suse*) echo "Run: sudo zypper install python312" ;;
    *) echo "Get 3.12 from https://www.python.org/downloads/ or set EASEL_PYTHON to where one is." ;;
  esac
}
