"""Easel: python app.py"""

from __future__ import annotations

import sys

from training.home import find_home
from ui import shell, theme

if __name__ == "__main__":
    demo = shell.build(find_home(sys.argv[2] if len(sys.argv) > 2 else None).made())
    demo.launch(theme=theme.make_theme(), css=demo.easel_css, head=demo.easel_head, footer_links=[], run_history=False, server_port=7861)
