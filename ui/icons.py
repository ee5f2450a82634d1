"""The line icons of the page: 24 x 24, drawn with the colour of the text beside them."""

from __future__ import annotations

PATHS = {
    "stop": '<rect x="6" y="6" width="12" height="12" rx="2"/>',
    "play": '<path d="M8 5.5v13l10.5-6.5z"/>',
    "save": '<path d="M5 4h11l3 3v13H5zM8 4v5h7V4M8 20v-6h8v6"/>',
    "brush": '<path d="m14 6 4 4M4 20c.3-3 1-4.600 2.500-6L15.500 5a2.100 2.100 0 0 1 3 0l.5.500a2.100 2.100 0 0 1 0 3L10 17.500C8.600 19 7 19.700 4 20z"/>',
    "copy": '<rect x="8.500" y="8.500" width="11" height="11" rx="2"/><path d="M15.500 8.500v-3a1 1 0 0 0-1-1h-9a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3"/>',
    "trash": '<path d="M4.500 7h15M9.500 7V4.500h5V7M6.500 7l.8 12.500h9.400L17.500 7M10 10.500v5.500M14 10.500v5.500"/>',
    "download": '<path d="M12 4v11m0 0-4.500-4.500M12 15l4.500-4.500M5 19.500h14"/>',
    "upload": '<path d="M12 15V4m0 0L7.500 8.500M12 4l4.500 4.500M5 19.500h14"/>',
    "plus": '<path d="M12 5v14M5 12h14"/>',
    "close": '<path d="m6.500 6.500 11 11m0-11-11 11"/>',
    "check": '<path d="m5 12.500 4.500 4.500L19 7.500"/>',
    "bolt": '<path d="M13 3 5 13.500h6L11 21l8-10.500h-6z"/>',
    "film": '<rect x="3" y="4.500" width="18" height="15" rx="2.500"/><path d="m3.500 16 4.500-4.500 4 4 3-3 5.500 5.500"/><circle cx="15" cy="9" r="1.400"/>',
    "star": '<path d="m12 4 2.500 5.100 5.600.8-4 4 .9 5.600-5-2.700-5 2.700.9-5.600-4-4 5.600-.8z"/>',
    "lock": '<rect x="5" y="10.500" width="14" height="9.500" rx="2"/><path d="M8.500 10.500V7.500a3.500 3.500 0 0 1 7 0v3"/>',
    "warn": '<path d="M12 4 2.800 19.500h18.400zM12 10v4.500M12 17.200v.3"/>',
    "up": '<path d="M12 19V5.500m0 0L6 11.500m6-6 6 6"/>',
    "down": '<path d="M12 5v13.500m0 0 6-6m-6 6-6-6"/>',
    "grip": '<path d="M9 6.500h.01M15 6.500h.01M9 12h.01M15 12h.01M9 17.500h.01M15 17.500h.01" stroke-width="2.400"/>',
    "pause": '<path d="M9 6v12M15 6v12"/>',
    "bell": '<path d="M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4"/>',
    "clock": '<circle cx="12" cy="12" r="8.500"/><path d="M12 7v5l3.500 2"/>',
}


def icon(name: str) -> str:
    """An <svg>, hidden from screen readers: the word beside it says it."""
    return (
        '<svg class="ez-icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.7" '
        f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{PATHS[name]}</svg>'
    )
