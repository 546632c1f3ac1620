"""Why no token was issued: the exchange's log has the cause, and the caller hears what he can mend."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from blocklist_sdk import ExchangeError, times
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange_server.casework.accounts import RefusedCredentials
from blocklist_sdk.exchange_server.casework.assertions import why_not
from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt
from support.talking import SECRETIVE, START, Talk

URL = "https://exchange.example"
TOKEN_URL = f"{URL}/oauth/token"
FORM = {
    "grant_type": "client_credentials",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}
LIFE_S, LEEWAY_S, LONGEST_S = 60, 300, 300
"""How long the client's assertions hold; by how much clocks may differ; how far ahead an assertion may end."""

NOW = START.timestamp()


def claims(**changed: Any) -> dict[str, Any]:
    return {"iss": "web", "sub": "web", "aud": TOKEN_URL, "exp": int(NOW) + 60, "jti": "one"} | changed


@pytest.fixture
def asked(start: Callable[..., Talk], caplog: pytest.LogCaptureFixture) -> "Asking":
    return Asking(start(url=URL), caplog)


@dataclass
class Asking:
    """An exchange that is asked for tokens, and its log."""

    talk: Talk
    caplog: pytest.LogCaptureFixture

    def refused(self, **form: str) -> tuple[str, str]:
        """What the log says, and what the caller hears."""
        self.caplog.clear()
        answer = self.talk.request("POST", "/oauth/token", data={"grant_type": "client_credentials", **form})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        (logged,) = [record.message for record in self.caplog.records if "log-in refused" in record.message]
        return logged, answer.json()["error_description"]

    def refused_assertion(self, key: str, **changed: Any) -> tuple[str, str]:
        text = jwt.encode({"alg": "Ed25519"}, claims(**changed), OKPKey.import_key(key), ["Ed25519"])
        return self.refused(**FORM, client_assertion=text)


CAUSES: list[tuple[dict[str, Any], str]] = [
    ({"exp": int(NOW) - 420}, "account web at 127.0.0.1: the assertion expired 0:07:00 ago"),
    ({"iat": int(NOW) + 420}, "valid from 0:07:00 on only: its maker's clock is ahead"),
    ({"nbf": int(NOW) + 420}, "valid from 0:07:00 on only"),
    ({"exp": int(NOW) + 3600}, "expires in 1:00:00, and at most 5 minutes are allowed"),
    ({"exp": None}, "has no `exp`"),
    ({"exp": 1e300}, "`exp` is not a moment"),
    ({"iss": "other"}, "`iss` is not its `sub`"),
    ({"jti": None}, "`jti` is missing"),
    ({"exp": int(NOW) + 60, "iat": int(NOW) + 90}, "ends before it begins"),
    ({"jti": "x" * 5_000}, "a request with no account name at 127.0.0.1: the assertion has more than 4,000 characters"),
    ({"sub": "nobody", "iss": "nobody"}, "account nobody at 127.0.0.1: no account has this name"),
    ({"sub": "S3cret\n!"}, "a request with no account name at 127.0.0.1"),
    ({"sub": SECRETIVE, "iss": SECRETIVE}, f"account {SECRETIVE} at 127.0.0.1: the account has a secret, and an asser"),
]


@pytest.mark.parametrize(("changed", "cause"), CAUSES)
def test_the_log_names_the_cause_and_the_caller_hears_nothing_of_it(
    asked: Asking, secrets: dict[str, str], changed: dict[str, Any], cause: str
) -> None:
    logged, heard = asked.refused_assertion(secrets["web"], **changed)
    assert cause in logged
    assert heard == "the credentials are not valid"
    assert "S3cret" not in logged


def test_a_wrong_audience_is_named_with_both(asked: Asking, secrets: dict[str, str]) -> None:
    logged, heard = asked.refused_assertion(secrets["web"], aud="http://127.0.0.1:8080/oauth/token")
    assert "wrong audience" in logged
    assert "made out to http://127.0.0.1:8080/oauth/token" in logged
    assert TOKEN_URL in logged
    assert TOKEN_URL in heard
    logged, heard = asked.refused_assertion(secrets["web"], aud="http://x.example/\x1b[2J\n" + "y" * 5000)
    assert "\n" not in logged
    assert "\x1b" not in logged
    assert len(logged) < 600


def test_whoever_lacks_the_key_hears_nothing(asked: Asking) -> None:
    other = OKPKey.generate_key("Ed25519").as_pem(private=True).decode()
    cause = "signed with another key than the account's"
    for changed, why in (({}, cause), ({"aud": "https://elsewhere.example"}, cause), ({"exp": 0}, "not looked at")):
        logged, heard = asked.refused_assertion(other, **changed)
        assert why in logged
        assert heard == "the credentials are not valid"


def test_a_replay_a_closed_account_and_secrets(asked: Asking, secrets: dict[str, str]) -> None:
    key = OKPKey.import_key(secrets["web"])
    once = jwt.encode({"alg": "Ed25519"}, claims(), key, ["Ed25519"])
    good = asked.talk.request("POST", "/oauth/token", data={**FORM, "client_assertion": once})
    assert good.status_code == 200
    assert "used before" in asked.refused(**FORM, client_assertion=once)[0]
    # For as long as it would be valid by the leeway, it stays used.
    asked.talk.clock.forward(seconds=60 + LEEWAY_S - 1)
    assert "used before" in asked.refused(**FORM, client_assertion=once)[0]
    assert "cannot be read" in asked.refused(**FORM, client_assertion=f"x.{once.split('.')[1]}.x")[0]
    assert "another client" in asked.refused(**FORM, client_assertion=once, client_id=SECRETIVE)[0]
    assert "no secret and no assertion" in asked.refused(client_id=SECRETIVE)[0]
    assert "the secret is wrong" in asked.refused(client_id=SECRETIVE, client_secret="x")[0]
    assert "no account has this name" in asked.refused(client_id="nobody", client_secret="x")[0]
    assert "the account has a key" in asked.refused(client_id="web", client_secret="x")[0]
    gone = {"sub": "gone", "iss": "gone", "exp": int(asked.talk.clock().timestamp()) + 60}
    assert "account gone at 127.0.0.1: the account is closed" in asked.refused_assertion(secrets["gone"], **gone)[0]


@given(offset_s=st.integers(-4000, 4000), has_iat=st.booleans())
def test_the_leeway_is_the_same_both_ways(offset_s: int, has_iat: bool) -> None:
    """An assertion holds from its beginning to its end, and five minutes more on both sides."""
    made = NOW + offset_s
    signed = claims(exp=made + LIFE_S, aud=[TOKEN_URL]) | ({"iat": made} if has_iat else {})
    refused = why_not(signed, "web", (TOKEN_URL,), NOW)
    latest_s = LEEWAY_S if has_iat else LEEWAY_S + LONGEST_S - LIFE_S
    assert (refused is None) is (-LEEWAY_S - LIFE_S < offset_s <= latest_s)
    if isinstance(refused, RefusedCredentials):
        assert ("behind" in refused.cause.partition(":")[2].partition(",")[0]) is (offset_s < 0)


@pytest.fixture
def exact(start: Callable[..., Talk]) -> Talk:
    """An exchange whose clock is right, as its answers' `Date` is."""
    talk = start()
    talk.clock.moment = datetime.now(UTC)
    return talk


def token_by(talk: Talk, auth: Any) -> str:
    with ExchangeClient(talk.url, auth=auth) as client:
        return client.get_account().name


def client_is_off(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    patch.setattr(times, "now", lambda: datetime.now(UTC) + by)


@pytest.mark.parametrize("minutes", [-4.8, -2, 0, 2, 4.8])
def test_a_client_whose_clock_is_nearly_right_gets_a_token(
    exact: Talk, secrets: dict[str, str], minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_is_off(monkeypatch, timedelta(minutes=minutes))
    assert token_by(exact, PrivateKeyJwt.for_exchange(exact.url, "web", secrets["web"])) == "web"


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (timedelta(minutes=-7), r"this machine's clock is 0:0[67]:\d\d behind the server's.*Set the clock right"),
        (timedelta(minutes=7), r"this machine's clock is 0:0[67]:\d\d ahead of the server's.*Set the clock right"),
        (timedelta(days=-10), r"clock is (10|9) days.* behind the server's"),
        (timedelta(days=366), r"clock is 36[56] days.* ahead of the server's"),
    ],
)
def test_a_client_whose_clock_is_off_hears_so(
    exact: Talk,
    secrets: dict[str, str],
    by: timedelta,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client_is_off(monkeypatch, by)
    with pytest.raises(ExchangeError, match=words) as caught:
        token_by(exact, PrivateKeyJwt.for_exchange(exact.url, "web", secrets["web"]))
    assert "check the client ID" not in str(caught.value)
    assert "account web" in caplog.text
    assert ("expired" in caplog.text) is (by < timedelta(0))


def test_another_key_is_not_blamed_on_a_clock_that_is_right(exact: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = OKPKey.generate_key("Ed25519").as_pem(private=True)
    auth = PrivateKeyJwt.for_exchange(exact.url, "web", other)
    with pytest.raises(ExchangeError, match="check the client ID and its key") as caught:
        token_by(exact, auth)
    assert "clock" not in str(caught.value)
    client_is_off(monkeypatch, timedelta(minutes=3))
    with pytest.raises(
        ExchangeError, match=r"check the client ID and its key.* Also, this machine's clock is 0:0[23]:"
    ):
        token_by(exact, auth)


def test_a_secret_has_nothing_to_do_with_clocks(exact: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    client_is_off(monkeypatch, timedelta(days=3))
    with pytest.raises(ExchangeError, match="check the client ID and its secret") as caught:
        token_by(exact, ClientCredentials.for_exchange(exact.url, SECRETIVE, "wrong"))
    assert "clock" not in str(caught.value)


def test_a_client_that_was_given_another_address_hears_which_is_expected(
    start: Callable[..., Talk], secrets: dict[str, str]
) -> None:
    talk = start(url=URL)
    talk.clock.moment = datetime.now(UTC)
    with pytest.raises(ExchangeError) as caught:
        token_by(talk, PrivateKeyJwt.for_exchange(talk.url, "web", secrets["web"]))
    assert TOKEN_URL in str(caught.value), "what is expected"
    assert f"that {talk.url}/oauth/token is the exchange's own address" in str(caught.value)
    json.dumps(caught.value.problem)


@pytest.mark.parametrize("name", ["web", "nobody", SECRETIVE])
@pytest.mark.parametrize("kind", [OKPKey, ECKey])
def test_the_work_of_a_refusal_does_not_tell_who_has_an_account(
    asked: Asking, monkeypatch: pytest.MonkeyPatch, name: str, kind: Any
) -> None:
    """Every assertion is verified once, and refused once for its algorithm, whosever it says it is."""
    outcomes: list[str] = []
    decode = jwt.decode

    def counting(*arguments: Any, **options: Any) -> Any:
        try:
            return decode(*arguments, **options)
        except Exception as error:
            outcomes.append(type(error).__name__)
            raise

    monkeypatch.setattr(jwt, "decode", counting)
    key, algorithm = (OKPKey.generate_key("Ed25519"), "Ed25519") if kind is OKPKey else (ECKey.generate_key(), "ES256")
    text = jwt.encode({"alg": algorithm}, claims(sub=name, iss=name), key, [algorithm])
    asked.refused(**FORM, client_assertion=text)
    assert sorted(outcomes) == ["BadSignatureError", "InvalidKeyTypeError"]
