"""A word to a phone or a chat when a run ends: where it goes, what it says, and how it is sent.

The address is the person's own (whoever has it can write there, so it is kept like a password): in the home, in .easel/telling.json, never
in a job, a report or a message.  What is said is little on purpose: the run's name, how it ended, its step, and one sentence of ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.header import Header
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import errors, outside
from ..files import write_atomic
from ..home import Home
from ..hub.secrets import Secret, mask
from ..hub.wire import LOOPBACK
from .run import Run

KINDS = {"ntfy": "ntfy", "webhook": "Webhook"}
TOLD = ("finished", "failed", "interrupted")  # who stopped a run knows that it ended
MOST_CHARS = 2000
MAX_KEPT_BYTES = 64_000
LONGEST_NAME = 80
WAIT_S = 10.0


@dataclass(frozen=True)
class Address:
    """Where messages go.  kind: of KINDS."""

    kind: str
    url: Secret

    @property
    def shown(self) -> str:
        """As much of it as a page may show: whoever knows the rest can write there."""
        parts = urlsplit(self.url.reveal())
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}/…"


@dataclass(frozen=True)
class Message:
    """What is said of a run.  state: of TOLD, or "test"."""

    run: str
    state: str
    step: int
    of: int
    sentence: str


def load(home: Home) -> Address | None:
    """The address that was given; None where none was, or none that can be used."""
    try:
        kept = outside.read_json(_path(home), MAX_KEPT_BYTES)
        return checked(str(kept["kind"]), str(kept["url"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(home: Home, kind: str, url: str) -> Address:
    """The address, kept for this home; only its owner can read the file.  Raises ValueError with a sentence, OSError."""
    address = checked(kind, url)
    _path(home).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_path(home), json.dumps({"kind": kind, "url": address.url.reveal()}).encode(), mode=0o600)
    return address


def forget(home: Home) -> None:
    """No more messages."""
    _path(home).unlink(missing_ok=True)


def checked(kind: str, url: str) -> Address:
    """An address that can be used.  Raises ValueError with a sentence, in which the address is not."""
    url = url.strip()
    if kind not in KINDS:
        raise ValueError(f"messages go by {' or '.join(KINDS)}, not by {kind[:20]!r}")
    if not url:
        raise ValueError("type the address that messages go to, for example https://ntfy.sh/ and a word that nobody guesses")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if len(url) > MOST_CHARS or not host or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("the address for messages is none; it begins with https:// and holds no spaces")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise ValueError("the address for messages must begin with https://, as anybody on the way could read it else; http:// is for this computer itself")
    if parts.username or parts.password:
        raise ValueError("the address for messages holds a name and a password; use one that needs none, such as ntfy's with a topic that nobody guesses")
    if kind == "ntfy" and not parts.path.strip("/"):
        raise ValueError("the address of ntfy ends with a topic, for example https://ntfy.sh/my-training-8c1f")
    return Address(kind, Secret(url))


def of_run(run: Run, status: str) -> Message:
    """What is said of a run that ended so."""
    view = run.view()
    name = mask(" ".join(run.title.split()))[:LONGEST_NAME]
    at = f" at step {view.step:,} of {view.of:,}" if view.of else ""
    if status == "finished":
        steps = f" after {view.step:,} steps" if view.of else ""
        sentence = f"It is done{steps}, in {_duration(view.last_t - view.first_t)}{', pauses included' * (view.first_t < view.started_t)}."
    else:
        how = {"failed": "It failed", "interrupted": "It was cut off"}[status]
        kind = run.error_kind(view)
        why = f": {kind.title[:1].lower()}{kind.title[1:]} ({kind.code})" if kind.code != errors.GENERAL else ""
        sentence = f"{how}{at}{why}. Its page says what to do."
    return Message(name, status, view.step, view.of, sentence)


def trial() -> Message:
    """What the test button says."""
    return Message("Easel", "test", 0, 0, "This is a test: so you will hear of a training when it is done, or when it fails.")


def send(address: Address, message: Message) -> None:
    """It has arrived there.  Raises ValueError with a sentence, in which the address is not."""
    import httpx2

    title = f"{message.run}: {message.state}" if message.state != "test" else "Easel"
    told: dict[str, Any]
    if address.kind == "ntfy":
        trouble = message.state in ("failed", "interrupted")
        heads = {"Title": Header(title, "utf-8").encode(linesep="") if not title.isascii() else title, "Tags": "warning" if trouble else "white_check_mark", "Priority": "4" if trouble else "3"}
        told = {"content": message.sentence.encode(), "headers": heads}
    else:  # `text` is what Slack and Mattermost show, `content` what Discord shows; the rest is for programs
        told = {"json": {"text": f"{title}. {message.sentence}", "content": f"{title}. {message.sentence}", **_plain(message)}}
    try:
        with httpx2.Client(timeout=WAIT_S, follow_redirects=False) as client:
            answer = client.post(address.url.reveal(), **told)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        why = "it did not answer in time" if isinstance(error, httpx2.TimeoutException) else "it cannot be reached"
        raise ValueError(f"the message was not sent to {address.shown}: {why}") from None
    if not 200 <= answer.status_code < 300:
        why = "it sends on to another address; use that one" if 300 <= answer.status_code < 400 else f"it answered with {answer.status_code}"
        raise ValueError(f"the message was not sent to {address.shown}: {why}")


def _plain(message: Message) -> dict[str, Any]:
    return {"run": message.run, "state": message.state, "step": message.step, "of": message.of, "sentence": message.sentence}


def _path(home: Home) -> Path:
    return home.root / ".easel" / "telling.json"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
