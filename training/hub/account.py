"""Who is signed in to the Hub: the token's owner, its rights, and where it is kept (huggingface_hub's own store or the environment)."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from . import client as hub_client
from .client import Fault
from .secrets import Secret, mask

ASK_TIMEOUT_S = 10.0  # for the one small request behind "signed in as"
WRITE_SCOPES = {"repo.write", "repo.content.write"}


@dataclass(frozen=True)
class Account:
    """Who the token belongs to and where it may write.  reason: why nobody is signed in, "" when somebody is."""

    name: str = ""
    role: str = ""  # write, read, fine-grained, oauth
    namespaces: tuple[str, ...] = ()  # where the token may write, the account's own name first
    scopes: tuple[str, ...] = ()
    source: str = ""  # where the token is: "environment", "saved", "environment first" (both), "given" (with the request: a Space, a command line)
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return self.reason or f"Signed in as {self.name} ({self.role})"


def find_token() -> tuple[Secret, str]:
    """(token, where it came from): the environment's, else the one huggingface_hub saved; an empty Secret if there is none."""
    from huggingface_hub import get_token

    given = (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or "").strip()
    if given:
        return Secret(given), "environment"
    return Secret((get_token() or "").strip()), "saved"


def signed_in(token: Secret | str | None = None, endpoint: str = "") -> Account:
    """The account behind `token` (None: the one that find_token gives), or the reason why there is none.  Never raises for the network."""
    secret, source = (Secret(token.strip() if type(token) is str else token), "given") if token else find_token()
    if not secret:
        return Account(reason=f"Not signed in: {_how()}.")
    try:
        answer = whoami(secret, hub_client.checked_endpoint(endpoint))
    except Fault as fault:
        return Account(reason=_why_not(fault, source), source=source)
    except ValueError as error:
        return Account(reason=str(error), source=source)
    return account_of(answer, source)


def whoami(secret: Secret, endpoint: str) -> dict:
    """The Hub's own description of the token.  Raises Fault."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    if constants.is_offline_mode():
        raise Fault(-1, "offline")
    with hub_client.Client() as client:
        response = client.get(f"{endpoint}/api/whoami-v2", headers=build_hf_headers(token=secret.reveal()), timeout=ASK_TIMEOUT_S)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.status_code != 200:
        raise Fault(response.status_code)
    if not isinstance(answer, dict) or not isinstance(answer.get("name"), str):
        raise Fault(0, "an answer that makes no sense", passing=True)
    return answer


def tokens_page() -> str:
    """Where tokens are made, as a person types it: the Hub's own place, or HF_ENDPOINT's."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT.removeprefix('https://')}/settings/tokens"


def _how() -> str:
    """How one signs in; what a page may show without "Not signed in" before it."""
    return f"paste a token from {tokens_page()}, with write access"


def _why_not(fault: Fault, source: str) -> str:
    where = {"environment": "in the environment variable HF_TOKEN", "saved": "saved on this computer", "given": "that was given"}[source]
    if fault.status == 401:
        return f"The Hub does not accept the token {where}: it is mistyped, expired or deleted. Make a new one at {tokens_page()}."
    if fault.status == -1:
        return "Offline mode is on (HF_HUB_OFFLINE), so the token cannot be checked."
    if fault.status == 429:
        return "The Hub has had too many requests; wait a minute and try again."
    if fault.status == 0:
        return f"The Hub cannot be reached ({fault.text}); check the network and try again."
    return f"The Hub has a problem of its own ({fault.status}); try again in a while."


def account_of(answer: dict, source: str) -> Account:
    """The Account in an answer of /api/whoami-v2."""
    name = answer["name"]
    auth: Any = answer.get("auth") if isinstance(answer.get("auth"), dict) else {}
    token: Any = auth.get("accessToken") if isinstance(auth.get("accessToken"), dict) else {}
    orgs = [o for o in answer.get("orgs", []) if isinstance(o, dict) and isinstance(o.get("name"), str)]
    role = str(token.get("role", "oauth" if auth.get("type") == "oauth" else "unknown"))
    if role == "fineGrained":
        fine: Any = token.get("fineGrained") if isinstance(token.get("fineGrained"), dict) else {}
        scoped = [s for s in fine.get("scoped", []) if isinstance(s, dict) and isinstance(s.get("entity"), dict)]
        scopes = {str(p) for s in scoped for p in s.get("permissions", [])} | {str(p) for p in fine.get("global", [])}
        wide = [str(s["entity"].get("name", "")) for s in scoped if WRITE_SCOPES & set(s.get("permissions", []))]
        spaces = dict.fromkeys(n.split("/")[0] for n in wide if n)
        order = [name] * (name in spaces) + [n for n in spaces if n != name]
        return Account(name, "fine-grained", tuple(order), tuple(sorted(scopes)), source)
    if role == "read":
        return Account(name, role, (), (), source)
    writers = [o["name"] for o in orgs if o.get("roleInOrg", "write") in ("admin", "write", "contributor")]
    return Account(name, role, (name, *writers), tuple(str(s) for s in auth.get("scopes", []) or []), source)


def save_token(token: str) -> Account:
    """The account that uploads will use, once huggingface_hub's own store holds a pasted token; nothing is saved if the Hub refuses it."""
    from huggingface_hub import login, set_client_factory

    account = signed_in(token)
    if account.ok:
        set_client_factory(hub_client.Client)
        try:
            login(token=token.strip(), add_to_git_credential=False)
        except Fault as fault:
            return Account(reason=_why_not(fault, "given"))
        except (OSError, ValueError) as error:
            return Account(reason=f"The token is right, but it could not be saved: {mask(str(error), token)}")
        used = signed_in()  # the environment's token goes before the saved one, for uploads too
        return replace(used, source="environment first") if used.source == "environment" else used
    return account


def check_repo_id(repo_id: str, namespace: str = "") -> str:
    """`namespace/name` as the Hub's own validator accepts it.  Raises ValueError that says what is wrong."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo_id = repo_id.strip()
    if "/" not in repo_id and namespace:
        repo_id = f"{namespace}/{repo_id}"
    if not repo_id.split("/")[-1]:
        raise ValueError("type a name for the repository, for example 'alice/my-cat'")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name for a repository: {str(error).split(': ')[0].rstrip('.')}; try {suggest_repo_id(repo_id)!r}") from None
    return repo_id


def suggest_repo_id(name: str, namespace: str = "") -> str:
    """A name that the Hub accepts, made from any text."""
    def clean(part: str) -> str:
        plain = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z0-9_.]+", "-", plain)
        plain = re.sub(r"\.\.+", ".", plain)[:96].removesuffix(".git")
        return plain.strip("-.")

    head, _, tail = name.strip().rpartition("/")
    parts = [clean(namespace or head.split("/")[-1]), clean(tail) or "my-lora"]
    return "/".join(p for p in parts if p)
