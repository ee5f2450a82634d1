"""What cannot be taken back is asked for twice: the first call says what would happen and gives a word, the second carries it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Hashable

GOOD_FOR_S = 600.0
REMEMBERED = 1000


class Words:
    """Words that were given and not spent yet.  Each is good once, for ten minutes, and for the very act that it was given for."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._given: dict[str, tuple[Hashable, float]] = {}
        self._lock = threading.Lock()

    def give(self, act: Hashable) -> str:
        """A new word for an act."""
        with self._lock:
            word = secrets.token_urlsafe(8)
            self._given[word] = act, self._clock() + GOOD_FOR_S
            while len(self._given) > REMEMBERED:
                del self._given[next(iter(self._given))]
            return word

    def spend(self, word: str, act: Hashable) -> None:
        """Nothing, once.  Raises ValueError for a word that was not given for this act, or is spent or old."""
        with self._lock:
            for_what, until = self._given.pop(word, (None, 0.0))
        if for_what != act or self._clock() > until:
            raise ValueError("that word was not given for this, was used already, or is older than ten minutes; call without a word to get a new one")
