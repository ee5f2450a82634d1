"""The number of an error beside its sentence, what it means, and the button that does something about it."""

from __future__ import annotations

from html import escape

from training import errors
from training.errors import Kind

from .icons import icon
from .language import tr

_WAYS = {  # action -> what a button carries, and its picture
    "fit": ('data-act="fit"', "bolt"), "disk": ('data-act="room"', "trash"), "sign_in": ('data-tab="publish"', "lock"), "base": ('data-act="duplicate"', "copy"),
    "settings": ('data-act="duplicate"', "copy"), "pictures": ('data-tab="dataset"', "film"),
}  # fmt: skip
HERE_ONLY = ("fit", "disk")  # they reckon with this computer and clear its disk


def code(kind: Kind, key: str) -> str:
    """The number, small; pressed, it says what it means.  key: which of several on one page it is."""
    what = escape(tr("{code}: what it means", code=kind.code))
    do = tr("<b>What to do:</b> {what}", what=escape(tr(kind.do)))
    return (
        f'<details class="ez-menu ez-code" data-key="code-{escape(key)}"><summary aria-label="{what}">{kind.code}</summary><div class="ez-pop">'
        f"<p><b>{escape(tr(kind.title))}</b></p><p>{escape(tr(kind.cause))}</p><p>{do}</p></div></details>"
    )


def remedy(kind: Kind, away: str = "") -> str:
    """The button that does something about it, on a page that shows the run; "" where there is none.  away: the other machine that it happened on."""
    if not kind.action or (away and kind.action in HERE_ONLY):
        return ""
    does, picture = _WAYS[kind.action]
    return f'<button type="button" class="ez-btn" {does}>{icon(picture)}{escape(tr(errors.ACTIONS[kind.action]))}</button>'
