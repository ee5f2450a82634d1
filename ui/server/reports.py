"""Reports that were shown, kept until they are saved: what is saved is to the letter what was read."""

from __future__ import annotations

import secrets
from collections import OrderedDict

from training.report import Report

MOST = 8
_shown: OrderedDict[str, Report] = OrderedDict()


def keep(made: Report) -> str:
    """The key under which it can be had; the oldest of many is forgotten."""
    key = secrets.token_urlsafe(12)
    _shown[key] = made
    while len(_shown) > MOST:
        _shown.popitem(last=False)
    return key


def get(key: str) -> Report:
    """Raises KeyError for one that is forgotten."""
    return _shown[key]
