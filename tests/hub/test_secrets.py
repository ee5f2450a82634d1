"""A secret shows itself nowhere but in reveal(); a mask finds it in every form."""

import base64
import copy
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import yaml

from tests.hub.conftest import some_token
from training.hub.secrets import MASK, Secret, mask


def test_nothing_that_writes_a_secret_writes_its_value():
    value = some_token()
    secret = Secret(value)
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!s:>50}", "{} {!r}".format(*[secret] * 2), "a" + secret, secret[:],
        json.dumps({"t": secret}), pickle.dumps(secret).decode("latin-1"), repr(pickle.loads(pickle.dumps(secret))), repr(vars),
        yaml.safe_dump(str(secret)), repr({"a": [secret]}), logging.LogRecord("n", 10, "p", 1, "%s", (secret,), None).getMessage(),
        secret.encode().decode(), secret.upper(), repr(list(secret)),
    ]  # fmt: skip
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        shown.append(traceback.format_exc())
    assert not [text for text in shown if value in text or value[3:] in text]
    assert secret.reveal() == value
    assert copy.deepcopy({"s": secret})["s"].reveal() == value
    assert Secret(secret).reveal() == value


def test_secrets_compare_by_what_they_hold_and_the_empty_one_is_false():
    assert Secret("one") == Secret("one") and Secret("one") != Secret("two") and Secret("one") != MASK
    assert len({Secret("one"), Secret("one"), Secret("two")}) == 2
    assert not Secret("") and Secret("x")


def test_mask_finds_hub_tokens_that_nobody_told_it():
    token, oauth = some_token(), "hf" + "_oauth_" + "eyJhbGciOi.abc-DEF_" * 2
    assert mask(f"Bearer {token}, then {oauth}!") == f"Bearer {MASK}, then {MASK}!"
    assert mask("hf_hub_download and hf_short stay") == "hf_hub_download and hf_short stay"


def test_mask_finds_a_given_secret_plain_url_encoded_and_in_base64():
    secret = "pass/wörd & more, 30 letters long"
    for before in ("", "a", "ab", "user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode((before + secret + " tail").encode()).decode()
            masked = mask(text, Secret(secret))
            assert MASK in masked and len(masked) < 25 + len(before)
    assert mask(f"x={quote(secret, safe='')}&y=1", secret) == f"x={MASK}&y=1"
    assert mask(f"x={quote(secret, safe='').lower()}", secret.lower()) == f"x={MASK}"
    assert mask(f"<{secret}>", secret) == f"<{MASK}>"
    assert mask("nothing here", Secret("")) == "nothing here"
