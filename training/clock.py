"""Moments as a person says them, in this computer's own time: 18:40, tomorrow (Mon 30 Nov) 02:15, and back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # not strftime's, which are the system's language
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LATESTDAYS = 366


def told(t: float, now: float) -> str:
    """18:40; another day is named: tomorrow (Mon 30 Nov) 02:15, Wed 2 Dec 02:15."""
    then, today = datetime.fromtimestamp(t), datetime.fromtimestamp(now)
    days = (then.date() - today.date()).days
    return f"{then:%H:%M}" if days == 0 else f"tomorrow ({weekday(then)}) {then:%H:%M}" if days == 1 else f"{weekday(then)} {then:%H:%M}"


def weekday(then: datetime) -> str:
    """Mon 30 Nov."""
    return f"{DAYS[then.weekday()]} {day(then)}"


def day(then: datetime) -> str:
    """30 Nov."""
    return f"{then.day} {MONTHS[then.month - 1]}"


def about(t: float, now: float) -> str:
    """told(), no finer than it can be known."""
    return told(rounded(t, now), now)


def rounded(t: float, now: float) -> float:
    """The moment as fine as it can be known: to the minute within the hour, to five within the day, to the quarter beyond."""
    ahead_s = t - now
    grain_s = 60 if ahead_s < 3600 else 300 if ahead_s < 86_400 else 900
    return round(t / grain_s) * grain_s


def read(text: str, now: float) -> float:
    """UTC seconds of 22:30 (the next one), or of 2026-11-30 22:30 (with a T between them too).  Raises ValueError with a sentence."""
    text = text.strip()
    if re.fullmatch(r"\d{1,2}:\d{2}", text):
        hour, minute = map(int, text.split(":"))
        if hour > 23 or minute > 59:
            raise ValueError(f"{text!r} is no time of a day; say for example 22:30")
        then = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)
        return (then if then.timestamp() > now else then + timedelta(days=1)).timestamp()
    try:
        t = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no time; say for example 22:30, or 2026-11-30 22:30") from None
    return checked(t, now)


def checked(t: float, now: float) -> float:
    """A moment to wait for.  Raises ValueError for one that is past, or more than a year away."""
    if t < now - 60:
        raise ValueError(f"{told(t, now)} is past; choose a later time")
    if t > now + LATESTDAYS * 86_400:
        raise ValueError("that is more than a year away; choose an earlier time")
    return t
