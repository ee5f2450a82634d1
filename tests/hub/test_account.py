"""Who is signed in: the name, the role, where it may write; or one plain reason."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.hub.conftest import some_token
from training.home import REPO
from training.hub.account import account_of, check_repo_id, signed_in, suggest_repo_id
from training.hub.client import checked_endpoint
from training.hub.secrets import Secret


def test_a_token_is_a_name_a_role_and_namespaces(hub, token):
    account = signed_in(token, hub.url)
    assert account.ok and str(account) == "Signed in as alice (write)" and account.namespaces == ("alice", "acme")
    assert signed_in(Secret(token), hub.url) == account
    assert token not in repr(account) + str(account)


@pytest.mark.parametrize("role,options,namespaces", [
    ("read", {}, ()), ("fineGrained", {"writes_to": ("acme", "bob")}, ("bob", "acme")), ("oauth", {"orgs": {"acme": "admin"}}, ("bob", "acme")),
])  # fmt: skip
def test_every_kind_of_token_says_where_it_may_write(hub, role, options, namespaces):
    hub.user(some_token("b"), "bob", role, **options)
    account = signed_in(some_token("b"), hub.url)
    assert account.ok and account.namespaces == namespaces


@pytest.mark.parametrize("how,words", [
    (401, "does not accept"), (429, "too many requests"), (503, "problem of its own"), ("broken", "cannot be reached"), ("bad json", "cannot be reached"),
])  # fmt: skip
def test_what_goes_wrong_is_a_reason_not_an_error(hub, token, how, words):
    hub.fail("whoami", how)
    account = signed_in(token, hub.url)
    assert not account.ok and words in str(account) and token not in str(account)


def test_no_token_no_network_no_hub(hub, token, monkeypatch):
    assert "Not signed in" in signed_in().reason
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "cannot be reached" in signed_in(token, f"http://127.0.0.1:{port}").reason
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "Offline mode" in signed_in(token, hub.url).reason


def test_strange_answers_about_the_account_do_no_harm():
    assert account_of({"name": "x"}, "given").role == "unknown"
    assert account_of({"name": "x", "auth": None, "orgs": ["y", {"name": 1}]}, "given").namespaces == ("x",)


def test_a_token_never_goes_to_a_stranger():
    assert checked_endpoint("") == "https://huggingface.co" and checked_endpoint("http://127.0.0.1:9/") == "http://127.0.0.1:9"
    for endpoint in ("https://evil.example", "http://huggingface.co.evil.example", "ftp://localhost", "http://u:p@localhost", "localhost"):
        with pytest.raises(ValueError):
            checked_endpoint(endpoint)
    assert not signed_in(some_token(), "https://evil.example").ok


@pytest.mark.parametrize("name,words", [("a b", "alphanumeric"), ("a/b/c", "form"), ("a--b", "--"), ("x.git", ".git"), ("-x", "alphanumeric"), ("a/", "type a name"), ("é", "alphanumeric")])
def test_a_name_that_the_hub_would_refuse_is_refused_with_one_that_it_takes(name, words):
    with pytest.raises(ValueError, match=words):
        check_repo_id(name)
    check_repo_id(suggest_repo_id(name, "alice"))


def test_a_name_gets_the_namespace_that_is_missing():
    assert check_repo_id(" my-cat ", "alice") == "alice/my-cat" and check_repo_id("acme/my-cat", "alice") == "acme/my-cat"
    assert suggest_repo_id("Ünï cødé -- '& 日本", "alice") == "alice/Uni-cde"


def test_a_pasted_token_is_kept_in_huggingface_hubs_own_store_and_nowhere_else(hub, token, tmp_path):
    code = (
        "import json, os; from training.hub.account import save_token, signed_in, find_token; t = os.environ.pop('PASTED');"
        "a = save_token(t + '\\n'); b = signed_in(); bad = save_token('hf' + '_' + 'no' * 15);"
        "print(json.dumps([str(a), a.source, str(b), b.source, str(bad), find_token()[0].reveal() == t]))"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url, "PASTED": token, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=REPO, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, at_once, again, source, bad, kept = json.loads(done.stdout.splitlines()[-1])
    assert first == again == "Signed in as alice (write)" and source == at_once == "saved" and kept and "does not accept" in bad
    assert token not in done.stdout + done.stderr
    holders = {p.name for p in tmp_path.rglob("*") if p.is_file() and token in p.read_text("utf-8", "replace")}
    assert holders == {"token", "stored_tokens"}
    if os.name != "nt":
        assert (tmp_path / "hf" / "token").stat().st_mode & 0o077 == 0


def test_a_token_in_the_environment_goes_before_a_pasted_one_and_is_named(hub, token, tmp_path):
    other = some_token("b")
    hub.user(other, "bob")
    code = "import os; from training.hub.account import save_token; a = save_token(os.environ.pop('PASTED')); print(a, a.source)"
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url, "PASTED": token, "HF_TOKEN": other, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=REPO, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "Signed in as bob (write) environment first", done.stderr
