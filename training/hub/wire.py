"""The way to the internet, as this computer has it set: proxies and certificates, brought into the one form that the HTTP client reads.

The client (httpx, under Gradio and under huggingface_hub) reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE.  It
sends what is meant for this very computer through a proxy too, and it cannot even be made where one of these makes no sense to it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import MutableMapping
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies

from ..home import TO_REPAIR

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SCHEMES = ("http", "https", "socks5", "socks5h")
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # what requests, pip and curl read; ours reads SSL_CERT_FILE


def settle(environ: MutableMapping[str, str] = os.environ, own_hosts: tuple[str, ...] = ()) -> list[str]:
    """What a person should know of it, one sentence each, none with a password in it; `environ` then works for us and for our workers.

    own_hosts: further addresses of this computer that are asked directly, whatever the proxy.
    """
    return _proxies(environ, own_hosts) + _certificates(environ)


def _proxies(environ: MutableMapping[str, str], own_hosts: tuple[str, ...]) -> list[str]:
    if not any(environ.get(name) for v in VARIABLES for name in (v, v.lower())) and environ is os.environ:
        # Windows and macOS keep proxies in their settings, which NO_PROXY in the environment would hide: they are written out first
        environ.update({f"{scheme.upper()}_PROXY": url for scheme, url in getproxies().items() if f"{scheme.upper()}_PROXY" in VARIABLES})
    said, left = [], False
    for name in (name for v in VARIABLES for name in (v, v.lower())):
        if not environ.get(name):
            continue
        url, wrong = _usable(environ[name])
        if wrong:
            said.append(f"{name} {wrong}, so Easel goes to the internet without it. Set it to an address such as http://proxy.example:8080 or socks5://proxy.example:1080.")
            del environ[name]
        else:
            environ[name], left = url, True
    if left:
        spared = [h.strip() for name in ("no_proxy", "NO_PROXY") for h in environ.get(name, "").split(",") if h.strip()]
        environ["NO_PROXY"] = environ["no_proxy"] = ",".join(dict.fromkeys([*spared, *LOOPBACK, *own_hosts]))
    return said


def _usable(value: str) -> tuple[str, str]:
    """(address as the client reads it, "") or ("", what is wrong with it)."""
    value = value.strip()
    url = value if "://" in value else f"http://{value}"
    scheme, _, rest = url.partition("://")
    scheme = "socks5" if scheme.lower() == "socks" else scheme.lower()  # how GNOME's settings write it
    if scheme not in SCHEMES:
        return "", f"names a proxy of the kind {scheme!r}, which Easel does not know"
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return "", f"names a SOCKS proxy, for which the package socksio is missing ({TO_REPAIR}, which installs it)"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        fine = bool(parts.hostname) and not any(c.isspace() for c in rest) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets or a port that make no sense
        fine = False
    return (f"{scheme}://{rest}", "") if fine else ("", "is no address of a proxy")


def _certificates(environ: MutableMapping[str, str]) -> list[str]:
    """Gives SSL_CERT_FILE what other programs are told, and takes away what cannot be read."""
    said = []
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", *BUNDLES):
        path = environ.get(name, "")
        if not path:
            continue
        why = _unreadable(path)
        if why:
            said.append(f"{name} names {path}, which {why}, so Easel trusts the usual certificates only. Correct it, or unset it.")
            del environ[name]
        elif name in BUNDLES and not environ.get("SSL_CERT_FILE") and not environ.get("SSL_CERT_DIR"):
            environ["SSL_CERT_DIR" if os.path.isdir(path) else "SSL_CERT_FILE"] = path
    return said


def _unreadable(path: str) -> str:
    """Why certificates cannot be read from a file or folder; "" when they can."""
    if os.path.isdir(path):
        return ""
    try:
        ssl.create_default_context(cafile=path)
    except FileNotFoundError:
        return "is not there"
    except ssl.SSLError:
        return "holds no certificates"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""
