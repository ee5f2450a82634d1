"""Tokens that cannot leak by accident, and a mask for every text that is written down."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

MASK = "***"
_LOGIN = re.compile(r"(?<=://)[^\s/@:'\"]+:[^\s/@'\"]+(?=@)")  # of a proxy's address, for one
_TOKEN = re.compile(r"hf_(?:(?:oauth|jwt)_[A-Za-z0-9._\-]{20,}|[A-Za-z0-9]{20,})")


class Secret(str):
    """A value that str, repr, format, JSON, YAML text and pickle show as ***.  Only reveal() gives it.

    It is a str whose text is the mask, so that whatever serialises it by any road finds nothing else.
    """

    __slots__ = ("_value",)
    _value: str

    def __new__(cls, value: str = ""):
        made = super().__new__(cls, MASK if value else "")
        made._value = value.reveal() if isinstance(value, Secret) else value
        return made

    def reveal(self) -> str:
        """The value itself.  Call it where it is handed to the Hub client or to a process's environment, nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK if self._value else ''})"

    def __eq__(self, other) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __ne__(self, other) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce_ex__(self, protocol):
        return str, (str(self),)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def mask(text: str, *secrets: Secret | str) -> str:
    """`text` with Hub tokens, logins in addresses, and the given secrets plain, URL-encoded and in base64, shown as ***."""
    for secret in secrets:
        value = secret.reveal() if isinstance(secret, Secret) else secret
        if value:
            for form in _forms(value):
                text = text.replace(form, MASK)
    return _LOGIN.sub(MASK, _TOKEN.sub(MASK, text))


def _forms(value: str) -> list[str]:
    """How `value` may stand in a text, longest first."""
    forms = {value, quote(value, safe="")}
    forms |= {re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), form) for form in forms}
    raw = value.encode()
    for shift in range(3):  # inside a longer text, such as user:token, base64 falls into one of three alignments
        padded = b"\0" * shift + raw
        whole = len(padded) // 3 * 4
        first = 0 if not shift else 4
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(padded).decode()[first:whole]
            if len(core) >= 12:  # a shorter core could be anybody's text
                forms.add(core)
    return sorted(forms, key=len, reverse=True)
