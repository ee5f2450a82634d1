"""A small picture for each base model: drawn from its name, always the same, with a mark of what it makes.  No sample of it: nothing of its weights is here."""

from __future__ import annotations

from zlib import crc32

SIDE = 44  # px
MARKS = {
    "picture": "",
    "edit": '<path d="M22 0h22v44H22z" fill="#fff" opacity=".55"/><path d="M22 4v36" stroke="#fff" stroke-width="1.500"/><path d="m28 18 5 4-5 4" fill="none" stroke="#1d1b18" stroke-width="1.800" stroke-linecap="round" stroke-linejoin="round"/>',
    "clip": '<path d="M0 0h44v6H0zM0 38h44v6H0z" fill="#1d1b18" opacity=".75"/><path d="M3 3h38M3 41h38" stroke="#fff" stroke-width="2.500" stroke-dasharray="3 4"/><path d="M18 15.500v13l11-6.500z" fill="#fff" stroke="#fff" stroke-width="1.500" stroke-linejoin="round"/>',
    "tags": '<g transform="translate(23 23)"><path d="M0 0h8l8 8-7 7-9-8z" fill="#fff" stroke="#fff" stroke-width="2" stroke-linejoin="round"/><circle cx="4" cy="4" r="1.600" fill="#1d1b18"/></g>',
}


def emblem(key: str, kind: str) -> str:
    """An <svg> of SIDE px, hidden from screen readers: the name beside it says it.  key: what it is drawn from; kind: one of MARKS."""
    n = crc32(key.encode())
    hue, turn, sun, far, near = n % 360, 30 + (n >> 9) % 120, 10 + (n >> 16) % 25, 24 + (n >> 20) % 8, 30 + (n >> 24) % 6
    bend = (n >> 5) % 12 - 6
    return (
        f'<svg class="ez-emblem" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" aria-hidden="true"><defs><linearGradient id="ez-e{n:x}" x2="0" y2="1">'
        f'<stop stop-color="hsl({hue} 62% 62%)"/><stop offset="1" stop-color="hsl({(hue + turn) % 360} 70% 82%)"/></linearGradient></defs>'
        f'<rect width="{SIDE}" height="{SIDE}" fill="url(#ez-e{n:x})"/><circle cx="{sun}" cy="{13 + n % 5}" r="{5 + (n >> 3) % 3}" fill="#fff" opacity=".85"/>'
        f'<path d="M0 {far}Q11 {far - 9 - bend} 22 {far}T44 {far - bend}V44H0z" fill="hsl({(hue + turn + 40) % 360} 38% 52%)"/>'
        f'<path d="M0 {near + 3}Q16 {near - 6 + bend} 30 {near + 2}T44 {near}V44H0z" fill="hsl({(hue + 200) % 360} 40% 34%)"/>{MARKS[kind]}</svg>'
    )
