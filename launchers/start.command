#!/usr/bin/env bash
# For a double click in the Finder of a Mac: sets Easel up where needed, then starts it.
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null || echo "${BASH_SOURCE[0]}")
here=$(cd -- "$(dirname -- "$self")" && pwd -P)
bash "$here/start.sh" "$@"
status=$?
# the window may close by itself before the sentence is read
if [ "$status" -ne 0 ] && [ "$status" -ne 130 ] && [ -t 0 ]; then
  printf '\nPress Return to close this window. '
  read -r _
fi
exit "$status"
