#!/usr/bin/env bash
# Puts Easel into this user's application menu (Linux); with --remove takes it out again.
set -eu
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null || echo "${BASH_SOURCE[0]}")
repo=$(cd -- "$(dirname -- "$self")/.." && pwd -P)
menu=${XDG_DATA_HOME:-$HOME/.local/share}/applications
entry=$menu/easel.desktop

if [ "${1:-}" = --remove ]; then
  rm -f -- "$entry"
  echo "Easel is out of the menu."
  exit 0
fi

# The Desktop Entry Specification quotes twice: the argument for the command line, then the whole value as a string.
quoted() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//\`/\\\`}
  text=${text//\$/\\\$}
  text=${text//\\/\\\\}
  printf '"%s"' "${text//%/%%}"
}

mkdir -p -- "$menu"
cat >"$entry" <<END
[Desktop Entry]
Type=Application
Name=Easel
Comment=Train a LoRA from your pictures
Exec=bash $(quoted "$repo/launchers/start.sh")
Icon=${repo//\\/\\\\}/ui/assets/icon-512.png
Terminal=true
Categories=Graphics;
END
command -v update-desktop-database >/dev/null 2>&1 && update-desktop-database -q "$menu" || true
echo "Easel is in the application menu now."
