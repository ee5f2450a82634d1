"""The overview of drawn pictures: index.json for programs, and one HTML page that stands by itself, with a table for each grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:24px;max-width:1800px}h1{font-size:22px}h2{font-size:16px;margin:28px 0 8px}"
    "table{border-collapse:separate;border-spacing:8px}th{font-weight:600;text-align:left;vertical-align:top;max-width:220px;overflow-wrap:anywhere}"
    "img,video{display:block;max-width:min(100%,360px);height:auto;border-radius:6px;background:#8883}.wide{overflow-x:auto}"
    "ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:16px}li{max-width:360px}figure{margin:0}figcaption{font-size:13px;opacity:.75;overflow-wrap:anywhere}"
)


def index(title: str, made: bool, rows: str, columns: str, pictures: Sequence[Mapping[str, Any]], said: Sequence[str]) -> dict[str, Any]:
    """What index.json holds.  pictures: of Shot.told(), with file: its path, "" while it is not drawn.  made: all are drawn."""
    return {"title": title, "complete": made, "rows": rows, "columns": columns, "said": list(said), "pictures": [dict(p) for p in pictures]}


def page(index: Mapping[str, Any]) -> str:
    """The HTML page of an index."""
    drawn = [p for p in index["pictures"] if p["file"]]
    state = f"{len(drawn)} pictures" if index["complete"] else f"{len(drawn)} of {len(index['pictures'])} pictures so far"
    body = "".join(_section(index, heading, group) for heading, group in groups(index))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(index["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(index['title'])}</h1><p>{state}</p>{body}</html>"
    )


def groups(index: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """[(heading, pictures)]: what the axes do not say tells one table from the next."""
    found: dict[tuple, list[Mapping[str, Any]]] = {}
    axes = {index["rows"], index["columns"]} - {""}
    for picture in index["pictures"]:
        rest = {k: v for k, v in picture["place"].items() if k not in axes and (axes or k == "prompt")}
        found.setdefault((*rest.values(), f"{picture['width']}×{picture['height']}"), []).append(picture)
    return [(" · ".join(key), group) for key, group in found.items()]


@dataclass(frozen=True)
class Table:
    """One grid: the values along its axes, and what stands where."""

    down: list[str]
    across: list[str]
    at: dict[tuple[str, str], Mapping[str, Any]]


def table(group: Sequence[Mapping[str, Any]], rows: str, columns: str) -> Table:
    """The pictures of a group by their places."""
    down, across = (list(dict.fromkeys(p["place"].get(axis, "") for p in group)) for axis in (rows, columns))
    return Table(down, across, {(p["place"].get(rows, ""), p["place"].get(columns, "")): p for p in group})


def _section(index: Mapping[str, Any], heading: str, group: Sequence[Mapping[str, Any]]) -> str:
    rows, columns = index["rows"], index["columns"]
    if not rows and not columns:
        return f"<h2>{escape(heading)}</h2><ul>{''.join(f'<li>{_figure(p)}</li>' for p in group)}</ul>"
    found = table(group, rows, columns)
    head = f'<tr><th>{escape(f"{rows} / {columns}".strip(" /"))}</th>{"".join(f"<th scope=col>{escape(c)}</th>" for c in found.across)}</tr>'
    lines = "".join(f'<tr><th scope="row">{escape(r)}</th>{"".join(f"<td>{_figure(found.at.get((r, c)))}</td>" for c in found.across)}</tr>' for r in found.down)
    return f'<h2>{escape(heading)}</h2><div class="wide"><table>{head}{lines}</table></div>'


def _figure(picture: Mapping[str, Any] | None) -> str:
    if not picture or not picture["file"]:
        return ""
    told = f"seed {picture['seed']}, {picture['steps']} steps, guidance {picture['guidance']:g}"
    return (
        f'<figure><a href="{escape(picture["file"])}"><img src="{escape(picture["file"])}" width="{picture["width"]}" height="{picture["height"]}" loading="lazy" '
        f'alt="{escape(picture["prompt"])}"></a><figcaption>{escape(told)}</figcaption></figure>'
    )
