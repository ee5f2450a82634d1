"""Opens the page in a window of its own: Edge or Chrome without tabs and address bar, else the default browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

LINUX = ("google-chrome", "google-chrome-stable", "microsoft-edge", "microsoft-edge-stable", "chromium", "chromium-browser", "brave-browser")
WINDOWS = (r"Microsoft\Edge\Application\msedge.exe", r"Google\Chrome\Application\chrome.exe", r"Chromium\Application\chrome.exe")
MAC = ("Google Chrome", "Microsoft Edge", "Chromium", "Brave Browser")
SIZE = "1440,940"


def open_app(url: str) -> str:
    """What was opened: the browser's path, "browser" for the default one, or "" where there is no screen."""
    if not has_screen():
        return ""
    app = find_browser()
    if app:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
        try:
            subprocess.Popen([app, f"--app={url}", f"--window-size={SIZE}"], **quiet, **apart)
            return app
        except OSError:  # found, but does not start: the default browser is there too
            pass
    return "browser" if webbrowser.open(url) else ""


def has_screen() -> bool:
    """Whether a window can appear at all."""
    return os.name == "nt" or sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def find_browser() -> str:
    """The program of an Edge or a Chrome; "" if there is none."""
    if os.name == "nt":
        roots = [os.environ.get(v, "") for v in ("PROGRAMFILES(X86)", "PROGRAMFILES", "LOCALAPPDATA")]
        found = (str(Path(root) / tail) for tail in WINDOWS for root in roots if root and (Path(root) / tail).is_file())
    elif sys.platform == "darwin":
        found = (p for name in MAC if Path(p := f"/Applications/{name}.app/Contents/MacOS/{name}").is_file())
    else:
        found = (path for name in LINUX if (path := shutil.which(name)))
    return next(found, "")
