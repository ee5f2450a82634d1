"""A vision model that somebody runs: any address with OpenAI's chat interface, as LM Studio, Ollama, vLLM and llama.cpp offer it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

TITLE = "A server of your own"
BLURB = "Asks a vision model that runs in LM Studio, Ollama, vLLM or llama.cpp, with a prompt of yours."
NEEDS_PIXELS = True
EMPTY = "the server's model said nothing about this picture"
KEY = "EASEL_CAPTION_KEY"  # environment variable with the server's key: keys stand in no job file
MAX_ANSWER_BYTES = 4_000_000
LOCAL = ("localhost", "127.0.0.1", "::1")
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)  # what some models say to themselves first


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field("http://127.0.0.1:11434/v1", max_length=500, description="The server's address up to /v1: Ollama's is http://127.0.0.1:11434/v1, LM Studio's http://127.0.0.1:1234/v1.")
    model: str = Field("", max_length=200, description="The model's name there; empty for the first that the server lists.")
    prompt: str = Field(
        "Describe this picture in one or two plain sentences, for training an image model. Say what is to be seen, where, and how it is drawn or photographed. Begin with the subject.",
        min_length=1, max_length=4000, description="What the model is asked about each picture.",
    )  # fmt: skip
    max_tokens: int = Field(300, ge=8, le=4096, description="Longest answer, in tokens of the model.")
    side: int = Field(1024, ge=64, le=4096, description="Longest side in px that a picture is scaled down to before it is sent.")
    timeout_s: int = Field(120, ge=5, le=3600, description="How long one answer may take, in seconds.")

    @field_validator("address")
    @classmethod
    def _an_address(cls, address):
        parts = urlsplit(address.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"is {address!r}, which is no address of a server; one looks like http://127.0.0.1:11434/v1")
        if parts.username or parts.password:
            raise ValueError(f"holds a name or a password, which job files would keep; put the server's key into the environment variable {KEY}")
        return address.strip().rstrip("/")


@dataclass(frozen=True)
class State:
    """A server that answered."""

    options: Options
    model: str


def needs(options: Options) -> str:
    """What stands against these options, a sentence; '' where nothing does."""
    if os.environ.get("SPACE_ID") and urlsplit(options.address).scheme != "https":
        return "on a Space this captioner asks servers over https only: what is near the Space itself is nobody's here"
    return ""


def says(options: Options) -> str:
    """What to know before it starts: where the pictures go."""
    host = urlsplit(options.address).hostname
    if host in LOCAL:
        return f"the pictures are sent to the server at {options.address}, which runs on this computer; nothing leaves it"
    return f"each picture leaves this computer: it is sent, scaled to {options.side} px at most, to {host}, with the prompt and nothing else"


def load(options: Options, device: str) -> State:
    """The server, asked for its models.  device: of no matter here.  Raises ValueError where it does not answer or lacks the model."""
    try:
        listed = _asked(options, "/models", None)
        names = [str(m["id"]) for m in listed["data"]]
    except (KeyError, TypeError):
        raise ValueError(f"{options.address} answered, but not as a server of OpenAI's kind does; its address usually ends in /v1") from None
    if options.model and names and options.model not in names:
        raise ValueError(f"the server at {options.address} has no model {options.model!r}; it has: {', '.join(sorted(names)[:10])}")
    if not options.model and not names:
        raise ValueError(f"the server at {options.address} lists no model; load one there that can see, or name it")
    return State(options, options.model or names[0])


def caption(state: State, pictures: list, names: list[str]) -> list[str]:
    """One caption a picture (RGB, any size); '' where the model says nothing.  Raises ValueError in plain words."""
    return [_of_one(state, picture) for picture in pictures]


def _of_one(state: State, picture) -> str:
    shown = picture.convert("RGB")
    shown.thumbnail((state.options.side, state.options.side))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=92)
    image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"}}
    message = {"role": "user", "content": [{"type": "text", "text": state.options.prompt}, image]}
    answer = _asked(state.options, "/chat/completions", {"model": state.model, "messages": [message], "max_tokens": state.options.max_tokens, "temperature": 0})
    try:
        said = answer["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"the server at {state.options.address} answered without a text") from None
    return " ".join(_THOUGHTS.sub("", str(said)).split()).strip("\"“” ")


def _asked(options: Options, path: str, body: dict[str, Any] | None) -> Any:
    """The JSON that the server answers.  Raises ValueError in plain words."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := os.environ.get(KEY, "").strip():
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(options.address + path, None if body is None else json.dumps(body).encode(), headers)
    try:
        with _opener().open(request, timeout=options.timeout_s) as answer:
            data = answer.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise ValueError(f"the server at {options.address} answered more than {MAX_ANSWER_BYTES // 10**6} MB")
        return json.loads(data)
    except urllib.error.HTTPError as error:
        raise ValueError(_refusal(options, error)) from None
    except (TimeoutError, urllib.error.URLError, OSError) as error:
        why = getattr(error, "reason", error)
        slow = isinstance(why, TimeoutError)
        raise ValueError(f"the server at {options.address} {f'gave no answer within {options.timeout_s} s' if slow else f'cannot be reached ({why})'}; is it running, and is a model loaded?") from None
    except json.JSONDecodeError:
        raise ValueError(f"{options.address} answered, but not as a server of OpenAI's kind does; its address usually ends in /v1") from None


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: pictures and the key go to the address that was named and nowhere else."""

    def redirect_request(self, *_):
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Stays)


def _refusal(options: Options, error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read(20_000))
        said = said.get("error", said)
        said = said.get("message", "") if isinstance(said, dict) else said
    except (ValueError, AttributeError, OSError):
        said = ""
    told = f": {' '.join(str(said).split())[:300]}" if said else ""
    if error.code in (401, 403):
        return f"the server at {options.address} wants a key{told}; put it into the environment variable {KEY} and start Easel again"
    if 300 <= error.code < 400:
        return f"{options.address} leads to another address; name that one"
    if error.code == 404:
        return f"the server at {options.address} does not know this address or model{told}"
    return f"the server at {options.address} refused (HTTP {error.code}){told}"
