"""The Hub client's wire: time-outs, no hidden waiting, and every fault as one plain sentence."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import hf_request_event_hook

from ..sentences import sentences
from .secrets import mask

TIMEOUT = httpx2.Timeout(60.0, connect=10.0)  # s; huggingface_hub itself sets none
PASSING = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_BUSY = "another conflicting operation is in progress"  # huggingface_hub repeats this 409 for ever, without a pause


class HubError(OSError):
    """A fault of the Hub or of the way to it.  Its text is a sentence for people; status: HTTP code, 0 for the network."""

    def __init__(self, sentence: str, hint: str = "", status: int = 0):
        super().__init__(sentence)
        self.hint = hint
        self.status = status


class Cancelled(Exception):
    """The person pressed Stop while something was under way."""


@dataclass
class Fault(Exception):
    """One thing that went wrong on the wire, before anybody has put it in words.  status 0: the network itself."""

    status: int
    text: str = ""
    wait_s: float = 0.0  # what the Hub asked to wait; 0: it did not say
    passing: bool = False  # whether trying again may help

    def __str__(self) -> str:
        return f"{self.status} {self.text}".strip()


class Client(httpx2.Client):
    """The HTTP client that huggingface_hub is given: it has time-outs, and it never waits by itself.

    huggingface_hub sleeps through 429 and 5xx inside a request; here they are raised as Fault, so that the one who pushes
    decides, can show the countdown and can be stopped.
    """

    def __init__(self, cancelled: Callable[[], bool] = lambda: False, **options):
        super().__init__(event_hooks={"request": [hf_request_event_hook]}, follow_redirects=True, timeout=TIMEOUT, verify=_tls(), **options)
        self._cancelled = cancelled

    def send(self, request, **options):
        if self._cancelled():
            raise Cancelled
        try:
            response = super().send(request, **options)
        except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
            raise _network_fault(error) from error
        fault = _refusal(request, response)
        if fault:
            raise fault
        return response


@functools.cache
def _tls():
    """The certificates, read once: that takes longer than a request."""
    return httpx2.create_ssl_context()


def _network_fault(error: Exception) -> Fault:
    slow = isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout)
    return Fault(0, "no answer in time" if slow else f"{type(error).__name__}: {error}", passing=True)


def _refusal(request, response) -> Fault | None:
    """The fault in a response that huggingface_hub would retry, or trip over; None for what it handles well."""
    status = response.status_code
    checks_yaml = request.url.path.endswith("/api/validate-yaml")  # it parses the body before it looks at the status
    hidden = response.headers.get("X-Error-Code") == "RepoNotFound"  # how the Hub may say that a repository is not there, with a 401
    if status in PASSING or status == 413 or (status == 401 and not hidden) or (checks_yaml and status not in (200, 400)):
        response.read()
        return Fault(status, _said(response), _asked_wait(response), status in PASSING)
    if status == 409 and request.url.path.endswith("/api/repos/create"):
        response.read()
        if _BUSY in response.text:
            return Fault(409, _said(response), passing=True)
    return None


def _said(response) -> str:
    """The Hub's own words, if it gave any."""
    said = response.headers.get("X-Error-Message", "")
    if not said:
        try:
            body = response.json()
            said = str(body.get("error", "")) if isinstance(body, dict) else ""
        except ValueError:
            said = ""
    return mask(" ".join(said.split()))[:300]


def _asked_wait(response) -> float:
    """Seconds that the response asks to wait, 0 if it does not say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    limit = parse_ratelimit_headers(response.headers) if response.status_code == 429 else None
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else 0.0


def fault_of(error: BaseException) -> Fault:
    """The Fault inside whatever huggingface_hub raised.  Raises the error itself if it is none of the Hub's: our own bug."""
    for link in _chain(error):
        if isinstance(link, Cancelled):
            raise link
        if isinstance(link, Fault):
            return link
        if isinstance(link, HfHubHTTPError):
            status = link.response.status_code
            return Fault(status, mask(" ".join((link.server_message or _said(link.response)).split()))[:300], passing=status in PASSING)
        if isinstance(link, OfflineModeIsEnabled):
            return Fault(-1, "offline")
        if isinstance(link, (httpx2.TransportError, httpx2.StreamError)):
            return _network_fault(link)
        if isinstance(link, json.JSONDecodeError):
            return Fault(0, "an answer that makes no sense", passing=True)
    for link in _chain(error):
        if isinstance(link, (KeyError, TypeError, AttributeError, ValueError)) and _raised_by_the_client(link):
            # huggingface_hub indexes straight into the answer: JSON of another shape ends here
            return Fault(0, f"an answer that makes no sense: {mask(str(link))[:200]}", passing=True)
    raise error


def _raised_by_the_client(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and "huggingface_hub" in Path(trace.tb_frame.f_code.co_filename).parts


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def sentence(fault: Fault, repo_id: str, endpoint: str) -> HubError:
    """What a person reads about `fault` while publishing to `repo_id`."""
    namespace = repo_id.split("/")[0]
    said = f" The Hub says: {sentences(fault.text)}" if fault.text and fault.status > 0 else ""
    again = "Everything is safe on this computer; press Retry to go on where it stopped."
    if fault.status == -1:
        return HubError("Offline mode is on (HF_HUB_OFFLINE), so nothing was published.", "Unset HF_HUB_OFFLINE and press Retry.")
    if fault.status == 0:
        text = f"The connection to {endpoint} broke ({fault.text})." if fault.text else f"The connection to {endpoint} broke."
        return HubError(text, "Check the network. " + again)
    if fault.status == 401:
        return HubError("The Hub does not accept the token (401).", f"Make a new one at {endpoint}/settings/tokens, sign in again and press Retry.", 401)
    if fault.status == 403:
        return HubError(
            f"The token may not write to {repo_id} (403).{said}",
            f"Use a token with write access to '{namespace}', or choose a namespace of yours.",
            403,
        )
    if fault.status == 404:
        return HubError(f"The Hub does not find {repo_id} (404), or the token may not see it.", "Check the name and the token's rights.", 404)
    if fault.status in (409, 412):
        return HubError(
            f"{repo_id} was changed by someone else while this was uploading ({fault.status}).{said}",
            "Nothing of theirs was overwritten. Look at the repository, then press Retry to publish on top of it.",
            fault.status,
        )
    if fault.status == 413:
        return HubError(f"The Hub finds the upload too large (413).{said}", "Choose fewer or smaller sample pictures.", 413)
    if fault.status == 429:
        wait = f" It asks to wait {_minutes(fault.wait_s)}." if fault.wait_s else ""
        return HubError(f"The Hub has had too many requests from this account (429).{wait}", "Wait, then press Retry. " + again, 429)
    if fault.status == 400:
        return HubError(f"The Hub refused the upload (400).{said}", "Check the model card's front matter and the names.", 400)
    if fault.status >= 500 or fault.passing:
        return HubError(f"The Hub has a problem of its own ({fault.status}).{said}", again, fault.status)
    return HubError(f"The Hub refused ({fault.status}).{said}", again, fault.status)


def _minutes(wait_s: float) -> str:
    return f"{wait_s:.0f} seconds" if wait_s < 120 else f"{wait_s / 60:.0f} minutes"


def checked_endpoint(endpoint: str = "") -> str:
    """The Hub's address without a trailing slash; "" means huggingface_hub's own.  Raises ValueError.

    A token only ever goes to huggingface_hub's own endpoint (HF_ENDPOINT moves it) or to this very computer, so that a job
    file from elsewhere cannot send it away.
    """
    chosen = (endpoint or constants.ENDPOINT).rstrip("/")
    parts = urlsplit(chosen)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the Hub's address is not a plain http(s) address such as https://huggingface.co")
    if parts.hostname in LOOPBACK or chosen in (constants.ENDPOINT.rstrip("/"), "https://huggingface.co"):
        return chosen
    raise ValueError(f"{chosen} is not the Hub this computer uses; set HF_ENDPOINT={chosen} before starting Easel if you trust it")
