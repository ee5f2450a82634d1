"""The list of plugins at the foot of the side panel: what was found, from where, and why one is not used."""

from __future__ import annotations

from html import escape
from pathlib import Path

from training.home import Home
from training.plugins import RIGHTS, Added, added

from .language import tr
from .words import in_words


def html(home: Home) -> str:
    """The folded section; open where something does not load."""
    found = added(home)
    broken = [one for one in found if not one.ok]
    rows = "".join(_row(one, home) for one in [*broken, *(one for one in found if one.ok)])
    head = tr("Plugins: {n}, {broken} not used", n=len(found), broken=len(broken)) if broken else tr("Plugins: {n}", n=len(found)) if found else tr("Plugins: none")
    where = tr("What lies in {folder}, or was installed as a package for Easel, is found at the next start.", folder=_short(home.plugins, home))
    return (
        f'<div class="ez-side"><section><details class="ez-plugins"{" open" if broken else ""}><summary><h2>{escape(head)}</h2></summary>'
        f'<ul>{rows}</ul><p class="ez-muted ez-small">{escape(where)} {escape(tr(RIGHTS))}</p></details></section></div>'
    )


def _row(one: Added, home: Home) -> str:
    fault = f'<p class="ez-error">{escape(in_words(one.error))}</p>' if one.error else ""
    return f'<li><b>{escape(tr(one.title))}</b><span class="ez-muted ez-small">{escape(tr(one.what))}, {escape(_short(one.source, home))}</span>{fault}</li>'


def _short(source: str | Path, home: Home) -> str:
    """A path as seen from the home, so that a page shown to others does not tell whose computer this is; an entry point as it is."""
    return str(source).removeprefix(f"{home.root}/").removeprefix(f"{home.root}\\")
