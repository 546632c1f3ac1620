"""Tokens: when they are fetched, what proves the account, what becomes of refusals, and where secrets never go."""

import base64
import json
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from blocklist_sdk import (
    AsyncExchangeClient,
    Blocklist,
    ClientCredentials,
    ExchangeClient,
    ExchangeError,
    InvalidInput,
    Malformed,
    PrivateKeyJwt,
    Unreachable,
)
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.fetch.transport import Transport
from blocklist_sdk.net import oauth
from blocklist_sdk.net.oauth import token_url_of
from support.exchanges import EVIDENCE, Asked, Handler, Told, exchanging, routes, token
from support.world import FEED, make_world

URL = "https://exchange.example"
TOKEN_URL = f"{URL}/oauth/token"
SECRET = "s3cret:with/signs+"
ACCOUNT = {"name": "gopay", "scopes": ["report"]}
QUICK = ClientSettings(attempts=3, backoff_initial_s=0.0, backoff_max_s=0.0)


@pytest.fixture
def network() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def credentials(**changed: Any) -> ClientCredentials:
    return ClientCredentials("gopay", SECRET, **{"token_url": TOKEN_URL, **changed})


def tokens(*values: str, life_s: int = 300) -> list[httpx.Response]:
    return [
        httpx.Response(200, json={"access_token": value, "token_type": "Bearer", "expires_in": life_s})
        for value in values
    ]


def bearer(call: Any) -> str:
    return str(call.request.headers["Authorization"])


def test_the_secret_goes_to_the_token_url_as_rfc_6749_says(network: respx.MockRouter) -> None:
    asked = network.post(TOKEN_URL).mock(side_effect=tokens("one"))
    network.get(f"{URL}/v1/account").respond(json=ACCOUNT)
    with ExchangeClient(URL, auth=credentials(scopes=["report", "receipt"])) as client:
        assert client.get_account().name == "gopay"
    request = asked.calls[0].request
    assert (
        base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"gopay:s3cret%3Awith%2Fsigns%2B"
    )
    assert parse_qs(request.content.decode()) == {"grant_type": ["client_credentials"], "scope": ["report receipt"]}


def test_the_token_request_has_the_time_limits_of_the_request_that_it_is_for(network: respx.MockRouter) -> None:
    asked = network.post(TOKEN_URL).mock(side_effect=tokens("one"))
    network.get(f"{URL}/v1/account").respond(json=ACCOUNT)
    with ExchangeClient(URL, auth=credentials()) as client:
        client.get_account()
    assert asked.calls[0].request.extensions["timeout"]["read"] == 60.0


def test_a_token_is_kept_and_renewed_before_it_ends(network: respx.MockRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    network.post(TOKEN_URL).mock(side_effect=tokens("one", "two", life_s=600))
    account = network.get(f"{URL}/v1/account").respond(json=ACCOUNT)
    with httpx.Client(auth=credentials()) as client:
        for now in (1000.0, 1569.0, 1571.0):  # noqa: B007
            client.get(f"{URL}/v1/account")
    assert [bearer(call) for call in account.calls] == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.parametrize(("life_s", "kept_s"), [(100, 90.0), (600, 570.0), (0, 0.0), (-5, 0.0), (10**9, 86_370.0)])
def test_the_margin_is_half_a_minute_or_a_tenth_of_its_life(
    life_s: int, kept_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    auth = credentials()
    auth._store(tokens("one", life_s=life_s)[0])
    assert auth._token == ("one", kept_s)


def test_a_401_renews_the_token_once(network: respx.MockRouter) -> None:
    network.post(TOKEN_URL).mock(side_effect=tokens("one", "two"))
    account = network.get(f"{URL}/v1/account").mock(
        side_effect=[httpx.Response(401), httpx.Response(200, json=ACCOUNT)]
    )
    with ExchangeClient(URL, auth=credentials()) as client:
        client.get_account()
    assert [bearer(call) for call in account.calls] == ["Bearer one", "Bearer two"]


def test_a_second_401_is_the_answer(network: respx.MockRouter) -> None:
    asked = network.post(TOKEN_URL).mock(side_effect=tokens("one", "two"))
    problem = {"title": "Unauthorized", "status": 401, "detail": "no such account"}
    account = network.get(f"{URL}/v1/account").respond(
        401, json=problem, headers={"Content-Type": "application/problem+json"}
    )
    with ExchangeClient(URL, auth=credentials()) as client, pytest.raises(ExchangeError, match="no such account") as no:
        client.get_account()
    assert no.value.status == 401
    assert (asked.call_count, account.call_count) == (2, 2)


def test_what_was_sent_before_the_401_is_sent_whole_again(tmp_path: Path) -> None:
    file = tmp_path / "shot.png"
    file.write_bytes(bytes(200_000))
    table = {
        "POST /oauth/token": [token("one"), token("two")],
        "POST /v1/reports/1/evidence": [Told({}, 401), Told(EVIDENCE, 201)],
    }
    with exchanging(routes(table)) as (url, asked):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        with ExchangeClient(url, auth=auth) as client:
            client.attach_evidence(1, file)
    sent = [each for each in asked if each.path != "/oauth/token"]
    assert [each.headers["Authorization"] for each in sent] == ["Bearer one", "Bearer two"]
    assert [len(each.body) for each in sent] == [200_000, 200_000]


def test_many_threads_fetch_one_token() -> None:
    with exchanging(routes({"GET /v1/account": ACCOUNT})) as (url, asked):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        start = threading.Barrier(8)
        with ExchangeClient(url, auth=auth) as client, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: (start.wait(), client.get_account())[1].name, range(8)))
    assert found == ["gopay"] * 8
    assert [each.path for each in asked].count("/oauth/token") == 1


def test_many_tasks_fetch_one_token_and_another_loop_goes_on_with_it() -> None:
    with exchanging(routes({"GET /v1/account": ACCOUNT})) as (url, asked):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)

        async def ask() -> None:
            async with AsyncExchangeClient(url, auth=auth) as client, anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(client.get_account)

        anyio.run(ask)
        anyio.run(ask)
    assert [each.path for each in asked].count("/oauth/token") == 1
    assert len(asked) == 17


def test_a_401_renews_the_token_once_in_a_loop_as_well() -> None:
    table = {
        "POST /oauth/token": [token("one"), token("two")],
        "GET /v1/account": [Told({}, 401), ACCOUNT],
    }
    with exchanging(routes(table)) as (url, asked):

        async def ask() -> str:
            auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
            async with AsyncExchangeClient(url, auth=auth) as client:
                return (await client.get_account()).name

        assert anyio.run(ask) == "gopay"
    assert [each.headers.get("Authorization") for each in asked][1::2] == ["Bearer one", "Bearer two"]


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return data


@pytest.mark.parametrize(
    ("key", "kind", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), ECKey, "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), OKPKey, "Ed25519"),
    ],
    ids=["ES256", "Ed25519"],
)
def test_an_assertion_is_made_out_for_one_use(key: Any, kind: Any, algorithm: str, network: respx.MockRouter) -> None:
    asked = network.post(TOKEN_URL).mock(side_effect=tokens("one", "two"))
    network.get(f"{URL}/v1/account").mock(side_effect=[httpx.Response(401), httpx.Response(200, json=ACCOUNT)])
    with ExchangeClient(URL, auth=PrivateKeyJwt("gopay", pem(key), token_url=TOKEN_URL)) as client:
        client.get_account()
    public = kind.import_key(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    ids = set()
    for call in asked.calls:
        form = parse_qs(call.request.content.decode())
        assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
        read = jwt.decode(form["client_assertion"][0], public, algorithms=[algorithm])
        assert read.claims["iss"] == read.claims["sub"] == "gopay"
        assert read.claims["aud"] == TOKEN_URL
        assert read.claims["exp"] - read.claims["iat"] == 60
        ids.add(read.claims["jti"])
        assert "Authorization" not in call.request.headers
    assert len(ids) == 2


@pytest.mark.parametrize(
    "key",
    [
        b"",
        "no key",
        b"\xff\xfe",
        pem(ec.generate_private_key(ec.SECP384R1())),
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        ),
        json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
    ],
    ids=["nothing", "text", "bytes", "another curve", "public", "encrypted", "no PEM"],
)
def test_a_key_that_cannot_be_used(key: bytes | str) -> None:
    with pytest.raises(InvalidInput, match="private key cannot be used"):
        PrivateKeyJwt("gopay", key, token_url=TOKEN_URL)


@pytest.mark.parametrize(
    ("answer", "kind", "words", "attempts"),
    [
        (
            Told({"error": "invalid_client", "error_description": "no such client"}, 401),
            ExchangeError,
            "no such client",
            1,
        ),
        (Told({"error": "invalid_scope"}, 400), ExchangeError, "invalid_scope", 1),
        (Told({"error": "other"}, 400), ExchangeError, "other", 1),
        (Told({"error": "slow_down"}, 429, {"Retry-After": "0"}), Unreachable, "429", 3),
        (Told(b"<html>", 503, media_type="text/html"), Unreachable, "503", 3),
        (Told(b"<html>Log in</html>", media_type="text/html"), Malformed, "captive portal", 1),
        (Told({"access_token": "x"}), Malformed, "not an OAuth token", 1),
        (Told({"access_token": "x\r\nX: y", "token_type": "Bearer"}), Malformed, "not an OAuth token", 1),
        (Told({"access_token": 7, "token_type": "Bearer"}), Malformed, "not an OAuth token", 1),
        (Told([1]), Malformed, "captive portal", 1),
        (Told(b"[" * 100_000), Malformed, "captive portal", 1),
        (Told(b"", 302, {"Location": "http://127.0.0.1:9/"}), Malformed, "captive portal", 1),
        (Told(b"<html>", 404, media_type="text/html"), Malformed, "404", 1),
        (Told(bytes(300_000)), Malformed, "256,000 bytes", 1),
    ],
    ids=lambda value: None,
)
def test_no_token(answer: Told, kind: type[Exception], words: str, attempts: int) -> None:
    with exchanging(routes({"POST /oauth/token": answer})) as (url, asked):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        with ExchangeClient(url, auth=auth, settings=QUICK) as client, pytest.raises(kind, match=words) as failed:
            client.get_account()

        async def ask() -> None:
            async with AsyncExchangeClient(url, auth=auth, settings=QUICK) as asynchronous:
                await asynchronous.get_account()

        with pytest.raises(kind, match=words):
            anyio.run(ask)
    assert SECRET not in str(failed.value)
    assert [each.path for each in asked] == ["/oauth/token"] * attempts * 2


def test_a_network_error_under_the_token_is_one_of_the_network(network: respx.MockRouter) -> None:
    asked = network.post(TOKEN_URL).mock(side_effect=httpx.ConnectError("refused"))
    with ExchangeClient(URL, auth=credentials(), settings=QUICK) as client, pytest.raises(Unreachable, match="refused"):
        client.get_account()
    assert asked.call_count == 3
    with httpx.Client(auth=credentials()) as plain, pytest.raises(httpx.ConnectError):
        plain.get(URL)


def test_a_lifetime_that_is_not_told_is_a_short_one(network: respx.MockRouter) -> None:
    auth = credentials()
    auth._store(httpx.Response(200, json={"access_token": "x", "token_type": "bearer", "expires_in": True}))
    auth._store(httpx.Response(200, json={"access_token": "x", "token_type": "BEARER"}))
    assert auth._usable_token(None) == "x"


@pytest.mark.parametrize(
    ("life", "used_s"),
    [("1" + "0" * 400, 86_400.0), ("-1" + "0" * 400, 0.0), ("NaN", 86_400.0), ("Infinity", 86_400.0)],
)
def test_a_lifetime_that_is_no_time_is_bounded(life: str, used_s: float) -> None:
    text = f'{{"access_token": "a", "token_type": "Bearer", "expires_in": {life}}}'
    token = oauth._token_in(httpx.Response(200, text=text), "https://exchange.example", lambda *_: "")
    assert token == ("a", used_s)


def test_no_secret_is_shown() -> None:
    key = pem(ec.generate_private_key(ec.SECP256R1()))
    for auth in (credentials(), PrivateKeyJwt("gopay", key, token_url=TOKEN_URL)):
        assert "gopay" in repr(auth)
        assert SECRET not in repr(auth)
        assert "PRIVATE" not in repr(auth)
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(auth)


@pytest.mark.parametrize(
    "arguments",
    [
        {"client_id": ""},
        {"client_id": "a\nb"},
        {"client_id": "é"},
        {"client_id": None},
        {"secret": ""},
        {"secret": "a\r\nb"},
        {"scopes": ("",)},
        {"token_url": "exchange.example"},
        {"token_url": "ftp://exchange.example/"},
        {"token_url": "https://me:pw@exchange.example/"},
        {"token_url": "https://[::1/"},
        {"token_url": "https://exchange.example:99999/"},
        {"token_url": None},
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_at_once(arguments: dict[str, Any]) -> None:
    given = {"client_id": "gopay", "secret": SECRET, "token_url": TOKEN_URL, **arguments}
    with pytest.raises(InvalidInput) as refused:
        ClientCredentials(given.pop("client_id"), given.pop("secret"), **given)
    assert SECRET not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_credentials_in_the_clear_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    credentials(token_url="http://127.0.0.1:8080/oauth/token")
    assert not caplog.records
    credentials(token_url="http://exchange.example/oauth/token")
    assert "in the clear" in caplog.text


def test_the_token_url_is_that_of_the_exchange() -> None:
    for url in ("https://exchange.example", "https://exchange.example/repository"):
        for auth in (
            ClientCredentials.for_exchange(url, "gopay", SECRET, scopes=["report"]),
            PrivateKeyJwt.for_exchange(url, "gopay", pem(ed25519.Ed25519PrivateKey.generate()), scopes=["report"]),
        ):
            assert (auth.client_id, auth.token_url, auth.scopes) == ("gopay", TOKEN_URL, ("report",))


@pytest.mark.parametrize("url", ["file:///srv", "exchange.example", "https://", "http://[::1"])
def test_no_token_url_of(url: str) -> None:
    with pytest.raises(InvalidInput):
        token_url_of(url)


def test_lists_are_fetched_with_a_token_and_not_read_whole_by_the_credentials(tmp_path: Path) -> None:
    with exchanging(routes({"GET /list": Told(bytes(500_000), media_type="x")})) as (url, asked):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        with Transport(auth=auth) as transport:
            transport.download(f"{url}/list", tmp_path / "list", length=500_000)
    assert (tmp_path / "list").stat().st_size == 500_000
    assert asked[-1].headers["Authorization"] == "Bearer token-1"


def test_a_token_never_follows_a_redirect_to_another_server() -> None:
    with exchanging(routes({"GET /list": Told(b"list", media_type="x")})) as (elsewhere, asked_elsewhere):
        table = {"GET /list": Told(b"", 302, {"Location": f"{elsewhere}/list"})}
        with exchanging(routes(table)) as (url, asked):
            auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
            with Transport(auth=auth) as transport:
                assert transport.get(f"{url}/list", max_bytes=10) == b"list"
    assert asked[-1].headers["Authorization"] == "Bearer token-1"
    assert [each.headers.get("Authorization") for each in asked_elsewhere] == [None]


def test_a_sync_whose_credentials_are_refused_says_so(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    refused = Told({"error": "invalid_client"}, 401)
    with exchanging(routes({"POST /oauth/token": refused})) as (url, _):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        root = world.publisher.root
        blocklist = Blocklist.open(f"{url}/repository", feed=FEED, root=root, cache_dir=tmp_path / "c", auth=auth)
        outcomes = list[str]()
        blocklist.add_listener(lambda outcome: outcomes.append(outcome.name))
        with blocklist, pytest.raises(ExchangeError, match="invalid_client"):
            blocklist.sync()
    assert outcomes == ["exchange"]


def hang(asked: Asked, handler: Handler) -> Told | None:
    handler.stopped.wait(30)
    return None


def test_a_token_endpoint_that_hangs_is_given_up() -> None:
    with exchanging(hang) as (url, _):
        auth = ClientCredentials.for_exchange(url, "gopay", SECRET)
        settings = ClientSettings(attempts=1, read_timeout_s=0.2)
        with ExchangeClient(url, auth=auth, settings=settings) as client, pytest.raises(Unreachable, match="timed out"):
            client.get_account()
