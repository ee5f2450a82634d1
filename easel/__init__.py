"""Easel in Python."""

from . import _rooms

_rooms.put_on_path()
