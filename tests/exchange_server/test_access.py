"""Who may do what: every route and every role, tokens, and the feeds' files."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.routing import APIRoute
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import event

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange_server.casework import secret_hashes
from blocklist_sdk.exchange_server.casework.accounts import Claims, Tokens, add_account, disable_account, renew_secret
from blocklist_sdk.exchange_server.http.account_cache import AccountCache
from blocklist_sdk.exchange_server.http.rates import RateLimits
from blocklist_sdk.exchange_server.http.refused_log_ins import RefusedLogIns
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.trail import Act
from support import quick_secrets
from support.talking import SECRETIVE, START, Talk, good, refused
from support.waiting import until

EVERYONE = {"anonymous", "report", "officer", "publish", "recipient", "reader"}
ANYONE = EVERYONE - {"anonymous"}

TABLE: dict[tuple[str, str], set[str]] = {
    ("GET", "/healthz"): EVERYONE,
    ("GET", "/readyz"): EVERYONE,
    ("GET", "/openapi.json"): EVERYONE,
    ("POST", "/oauth/token"): EVERYONE,
    ("GET", "/v1/account"): ANYONE,
    ("GET", "/v1/numbers/{number}"): EVERYONE,
    ("POST", "/v1/reports"): {"report"},
    ("POST", "/v1/reports/bulk"): {"report"},
    ("GET", "/v1/reports"): {"report"},
    ("GET", "/v1/reports/{report}"): {"report", "officer"},
    ("POST", "/v1/reports/{report}/evidence"): {"report"},
    ("GET", "/v1/cases"): {"officer"},
    ("GET", "/v1/cases/{case}"): {"officer"},
    ("GET", "/v1/cases/{case}/reports"): {"officer"},
    ("GET", "/v1/cases/{case}/history"): {"officer"},
    ("POST", "/v1/cases/{case}/verification"): {"officer"},
    ("POST", "/v1/cases/{case}/decisions"): {"officer"},
    ("POST", "/v1/decisions/{decision}/confirmation"): {"officer"},
    ("POST", "/v1/decisions/{decision}/withdrawal"): {"officer"},
    ("GET", "/v1/evidence/{evidence}"): {"officer"},
    ("POST", "/v1/appeals"): {"report"},
    ("GET", "/v1/appeals"): {"report", "officer"},
    ("GET", "/v1/appeals/{appeal}"): {"report", "officer"},
    ("POST", "/v1/appeals/{appeal}/evidence"): {"report"},
    ("POST", "/v1/appeals/{appeal}/answer"): {"officer"},
    ("POST", "/v1/receipts"): {"recipient"},
    ("GET", "/v1/receipts/recycled"): {"officer"},
    ("POST", "/v1/receipts/recycled/answers"): {"officer"},
    ("GET", "/v1/receipts"): {"recipient", "officer"},
    ("GET", "/v1/feeds"): ANYONE,
    ("POST", "/v1/publications"): {"publish"},
    ("GET", "/v1/publications/waiting"): {"officer", "publish"},
    ("POST", "/v1/publications/acceptances"): {"officer", "publish"},
    ("GET", "/metrics"): {"officer", "publish"},
    ("GET", "/v1/statistics/{month}"): {"officer", "publish", "recipient"},
    ("GET", "/repository/{path:path}"): {"publish", "recipient", "reader"},
    ("HEAD", "/repository/{path:path}"): {"publish", "recipient", "reader"},
}
"""The accounts that may use each route; a route that is missing here fails."""

WHO = {
    "anonymous": None,
    "report": "web",
    "officer": "anna",
    "publish": "press",
    "recipient": "telkomsel",
    "reader": "mirror",
}
WORTHLESS = (
    "disabled",
    "expired",
    "garbage",
    "of another key",
    "of a moment to come",
    "of an unknown account",
    "not a bearer",
)

BODIES: dict[str, Any] = {
    "/v1/cases/{case}/decisions": {"kind": "reject", "reason": "x"},
    "/v1/appeals/{appeal}/answer": {"grant": True, "reason": "x"},
    "/v1/receipts/recycled/answers": {"digest": "0" * 64, "confirm": True, "reason": "x"},
    "/v1/publications": {},
    "/v1/publications/acceptances": {"feed": "id-all", "digest": "0" * 64},
    "/v1/reports/bulk": {"reports": []},
    "/v1/receipts": {"receipts": []},
    "/v1/appeals": {},
}


def routes(talk: Talk) -> list[tuple[str, str]]:
    """All routes, however deep they are included."""
    found: list[tuple[str, str]] = []

    def walk(some: Any) -> None:
        for route in some:
            if isinstance(route, APIRoute):
                found.extend((method, route.path) for method in sorted(route.methods or ()))
            elif hasattr(route, "routes"):
                walk(route.routes)
            elif hasattr(route, "original_router"):
                walk(route.original_router.routes)

    walk(talk.server.app.routes)
    return found


def worthless(talk: Talk) -> dict[str, dict[str, str]]:
    at = talk.clock().timestamp()
    other = OKPKey.generate_key("Ed25519")
    instance = talk.exchange.database.instance()
    claims: dict[str, Any] = {"iss": instance, "aud": instance, "sub": "anna", "scope": "officer", "renewed": 0}
    claims |= {"iat": int(at), "exp": int(at) + 900}
    forged = jwt.encode({"alg": "Ed25519"}, claims, other, algorithms=["Ed25519"])
    tokens = {
        "disabled": talk.token("gone")["Authorization"],
        "expired": f"Bearer {talk.exchange.tokens.issue('anna', ['officer'], at - 900)}",
        "garbage": "Bearer x.y.z",
        "of another key": f"Bearer {forged}",
        "of a moment to come": f"Bearer {talk.exchange.tokens.issue('anna', ['officer'], at + 600)}",
        "of an unknown account": f"Bearer {talk.exchange.tokens.issue('unknown', ['officer'], at)}",
        "not a bearer": talk.token("anna")["Authorization"].replace("Bearer", "Basic"),
    }
    assert set(tokens) == set(WORTHLESS)
    return {name: {"Authorization": token} for name, token in tokens.items()}


def test_every_route_lets_in_whom_the_contract_says_and_no_others(lite: Talk) -> None:
    number = lite.number()
    case = lite.listed(number)
    made = lite.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "x", "appellant": "p"})
    assert (case, made["id"]) == (1, 1)
    assert set(routes(lite)) == set(TABLE)
    headers = {name: lite.token(who) for name, who in WHO.items()} | worthless(lite)
    for index, ((method, path), allowed) in enumerate(TABLE.items()):
        url = path.replace("{path:path}", "metadata/timestamp.json").replace("{number}", "+6281234567890")
        for name in ("report", "case", "decision", "evidence", "appeal"):
            url = url.replace("{" + name + "}", "1")
        url = url.replace("{month}", "2026-11")
        for role, header in headers.items():
            key = {"Idempotency-Key": f"{index}-{role.replace(' ', '-')}"} if method == "POST" else {}
            body = {} if method == "GET" else {"json": BODIES.get(path, {})}
            answer = lite.request(method, url, headers=header | key, params={"name": "a.png"}, **body)
            place = f"{method} {url} as {role}: {answer.status_code} {answer.text}"
            if role in allowed or (role in WORTHLESS and "anonymous" in allowed):
                if path != "/oauth/token":
                    assert answer.status_code not in (401, 403), place
            else:
                assert answer.status_code == (403 if role in ANYONE else 401), place
                assert answer.headers.get("WWW-Authenticate", "Bearer").startswith("Bearer")
                if method != "HEAD":
                    refused(answer, answer.status_code)


def test_a_token_allows_no_more_than_its_account_does_now(lite: Talk) -> None:
    narrow = lite.token("everyone", "report")
    assert lite.request("GET", "/v1/reports", headers=narrow).is_success
    assert lite.request("GET", "/v1/cases", headers=narrow).status_code == 403
    wide = lite.token("web", "report", "officer")
    assert lite.request("GET", "/v1/cases", headers=wide).status_code == 403
    assert lite.request("GET", "/v1/account", headers=wide).json() == {"name": "web", "scopes": ["report"]}


def test_an_account_that_is_closed_is_out_within_a_second(lite: Talk) -> None:
    assert lite.get("web", "/v1/account").is_success
    with lite.exchange.database.writing(by=Act("command line", "prepared")) as session:
        disable_account(session, "web", START)
    until(lambda: lite.get("web", "/v1/account").status_code == 401)


# The feeds' files


def test_feeds_files_are_for_those_who_may_read_the_feed(lite: Talk) -> None:
    lite.listed()
    lite.exchange.publisher.add_feed("elsewhere")
    lite.exchange.publisher.release("elsewhere", _one_number())
    repository = lite.exchange.repository
    paths = [path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()]
    feeds = (*lite.exchange.routing.feeds, "elsewhere")
    seen = set()
    for path in paths:
        owner = next((feed for feed in feeds if f"/{feed}/" in path or path.endswith(f".{feed}.json")), None)
        seen.add(owner)
        readers = {
            "web": False,
            "anna": False,
            "press": True,
            "telkomsel": owner in (None, "id-telkomsel"),
            "mirror": owner in (None, "id-all"),
        }
        for who, allowed in readers.items():
            answer = lite.get(who, f"/repository/{path}")
            assert answer.status_code == (200 if allowed else 403), (who, path)
            if allowed:
                assert answer.content == (repository / path).read_bytes()
    assert {None, "id-telkomsel", "id-all", "id-messaging", "elsewhere"} <= seen


def _one_number() -> Any:
    import pyarrow as pa

    return pa.table({"number": ["+6281234567890"]})


def test_files_are_served_in_parts_and_only_when_they_have_changed(lite: Talk) -> None:
    lite.listed()
    path = "/repository/metadata/timestamp.json"
    whole = lite.get("telkomsel", path)
    assert whole.headers["Cache-Control"] == "no-cache"
    part = lite.get("telkomsel", path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    unchanged = lite.get("telkomsel", path, headers={"If-None-Match": whole.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    last = lite.get("telkomsel", path, headers={"Range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, whole.content[-5:])
    for outside in ("bytes=999999-", "bytes=-0"):
        beyond = lite.get("telkomsel", path, headers={"Range": outside})
        refused(beyond, 416, "out-of-range")
        assert beyond.headers["Content-Range"] == f"bytes */{len(whole.content)}"
    for none in ("bytes=x", "bytes=-", "bytes=9-1", "lines=1-2", "bytes=0-1,3-4", "bytes=" + "9" * 5000 + "-", "x"):
        ignored = lite.get("telkomsel", path, headers={"Range": none})
        assert (ignored.status_code, ignored.content) == (200, whole.content)
    head = lite.request("HEAD", path, headers=lite.token("telkomsel"))
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(whole.content)


@pytest.mark.parametrize(
    "path",
    [
        "../keys/online.pem",
        "%2e%2e/keys/online.pem",
        "metadata/..%2f..%2fkeys/online.pem",
        "metadata/../../root.json",
        "targets/id-telkomsel/../id-all/x",
        "metadata//timestamp.json",
        "metadata/./timestamp.json",
        "metadata",
        "",
        "/etc/passwd",
        "metadata/timestamp.json/",
        "metadata/%00",
        "metadata/nothing.json",
        "targets/" + "x" * 5000,
    ],
    ids=lambda path: path[:30],
)
def test_nothing_but_the_repository_is_served(lite: Talk, path: str) -> None:
    lite.publish()
    import http.client

    host = lite.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)  # which sends the path as it is
    connection.request("GET", f"/repository/{path}", headers=lite.token("press"))
    answer = connection.getresponse()
    assert answer.status in (400, 404), answer.read()
    connection.close()


# Tokens


def ask(talk: Talk, *, auth: Any = None, headers: dict[str, str] | None = None, **fields: str) -> Any:
    form = {"grant_type": "client_credentials"} | fields
    return talk.request("POST", "/oauth/token", data=form, auth=auth, headers=headers)


def token_refused(answer: Any, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"


def test_a_secret_is_exchanged_for_a_token(lite: Talk, secrets: dict[str, str]) -> None:
    secret = secrets[SECRETIVE]
    for answer in (
        ask(lite, auth=(SECRETIVE, secret)),
        ask(lite, client_id=SECRETIVE, client_secret=secret),
    ):
        made = good(answer)
        assert (made["token_type"], made["expires_in"], made["scope"]) == ("Bearer", 900, "officer report")
        header = {"Authorization": f"Bearer {made['access_token']}"}
        assert lite.request("GET", "/v1/cases", headers=header).is_success
    narrow = good(ask(lite, auth=(SECRETIVE, secret), scope="report"))
    assert narrow["scope"] == "report"
    token_refused(ask(lite, auth=(SECRETIVE, secret), scope="publish"), 400, "invalid_scope")
    token_refused(ask(lite, auth=(SECRETIVE, secret), grant_type="password"), 400, "unsupported_grant_type")


def test_wrong_credentials_are_refused_alike(lite: Talk, secrets: dict[str, str]) -> None:
    wrong = [
        (SECRETIVE, "wrong"),
        (SECRETIVE, ""),
        ("stranger", "wrong"),
        ("anna", "an account with a key"),
        ("gone", secrets["gone"]),
        ("\0", "\0"),
        ("x" * 3000, "x" * 3000),
    ]
    texts = set()
    for auth in wrong:
        answer = ask(lite, auth=auth)
        token_refused(answer, 401, "invalid_client")
        texts.add(answer.text)
    assert len(texts) == 1
    token_refused(ask(lite), 401, "invalid_client")
    for header in ("Basic", "Basic x", "Basic /w==", "Basic " + base64.b64encode(b"\xff:x").decode(), "Bearer x"):
        token_refused(ask(lite, headers={"Authorization": header}), 401, "invalid_client")


def test_in_earnest_secrets_are_hashed_as_the_library_recommends() -> None:
    """That is the second recommended set of RFC 9106; hashing the secrets of all tests with it would take long."""
    for name in ("type", "time_cost", "memory_cost", "parallelism", "hash_len", "salt_len"):
        assert getattr(quick_secrets.REAL_HASHER, name) == getattr(PasswordHasher(), name)


def test_a_secret_is_compared_with_its_hash_in_microseconds() -> None:
    secret = secret_hashes.new_secret()
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32, "256 bits"
    stored = secret_hashes.hash_of(secret)
    assert secret_hashes.matches(stored, secret)
    assert not any(secret_hashes.matches(stored, each) for each in ("", secret[:-1], secret + "x", stored, "\ud800"))
    assert not any(secret_hashes.matches(each, secret) for each in (None, "", "sha256$", secret, "$argon2id$v=19$x"))
    assert not any(secret_hashes.matches_old(each, secret) for each in (None, "", stored, secret, "$argon2id$v=19$x"))
    started = time.perf_counter()
    for _ in range(1_000):
        secret_hashes.matches(stored, "wrong")
    assert time.perf_counter() - started < 1, "a thousand guesses"


def test_a_new_secret_replaces_the_old_one(lite: Talk, secrets: dict[str, str]) -> None:
    with lite.exchange.database.writing(by=Act("command line", "prepared")) as session:
        fresh = renew_secret(session, SECRETIVE, lite.clock())
    token_refused(ask(lite, auth=(SECRETIVE, secrets[SECRETIVE])), 401, "invalid_client")
    good(ask(lite, auth=(SECRETIVE, fresh)))


def test_tokens_from_before_a_new_secret_are_worth_nothing_and_those_after_it_hold_at_once(lite: Talk) -> None:
    def header(made: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {good(made)['access_token']}"}

    def status(header: dict[str, str]) -> int:
        return lite.request("GET", "/v1/cases", headers=header).status_code

    stale = [lite.token(SECRETIVE, "officer")]
    assert status(stale[0]) == 200
    for _ in range(3):  # within one second of the exchange's clock
        fresh = lite.exchange.renew_secret(SECRETIVE)
        after = header(ask(lite, auth=(SECRETIVE, fresh)))
        assert status(after) == 200
        assert {status(each) for each in stale} == {401}
        stale.append(after)
    lite.clock.forward(seconds=-60)
    assert status(header(ask(lite, auth=(SECRETIVE, lite.exchange.renew_secret(SECRETIVE))))) == 200
    assert {status(each) for each in stale} == {401}


def test_a_reopened_account_has_a_new_secret_and_no_old_token(lite: Talk) -> None:
    old = lite.exchange.renew_secret(SECRETIVE)
    before = {"Authorization": f"Bearer {good(ask(lite, auth=(SECRETIVE, old)))['access_token']}"}
    lite.exchange.disable_account(SECRETIVE)
    with pytest.raises(InvalidInput, match="is closed"):
        lite.exchange.renew_secret(SECRETIVE)
    fresh = lite.exchange.reopen_account(SECRETIVE)
    assert fresh is not None
    token_refused(ask(lite, auth=(SECRETIVE, old)), 401, "invalid_client")
    good(ask(lite, auth=(SECRETIVE, fresh)))
    time.sleep(1.1)
    refused(lite.request("GET", "/v1/cases", headers=before), 401, "unauthenticated")


def test_a_new_secret_ends_tokens_within_a_second_even_if_it_is_not_used(lite: Talk) -> None:
    before = lite.token("web")
    assert lite.request("GET", "/v1/reports", headers=before).status_code == 200
    lite.exchange.renew_secret("web")
    time.sleep(1.1)
    refused(lite.request("GET", "/v1/reports", headers=before), 401, "unauthenticated")


ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def signed(key: Any, algorithm: str, claims: dict[str, Any]) -> str:
    """A token with any claims, surrogates included."""
    from joserfc import jws

    return jws.serialize_compact({"alg": algorithm}, json.dumps(claims).encode(), key, algorithms=[algorithm])


def test_a_signed_assertion_is_exchanged_for_a_token_once(talk: Talk) -> None:
    key = OKPKey.generate_key("Ed25519")
    curve = ECKey.generate_key("P-256")
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        for name, each in (("signer", key), ("curved", curve)):
            add_account(session, name, "report", key=each.as_pem(private=False).decode(), now=START)
    now = int(talk.clock().timestamp())
    claims = {"iss": "signer", "sub": "signer", "aud": f"{talk.url}/oauth/token", "exp": now + 300, "jti": "one"}

    def send(assertion: str) -> Any:
        return ask(talk, client_assertion_type=ASSERTION, client_assertion=assertion)

    once = signed(key, "Ed25519", claims)
    assert good(send(once))["scope"] == "report"
    token_refused(send(once), 401, "invalid_client")
    for audience in (talk.url, ["other", f"{talk.url}/oauth/token"]):
        good(send(signed(key, "Ed25519", claims | {"aud": audience, "jti": f"for-{audience}"[:99]})))
    good(send(signed(curve, "ES256", claims | {"iss": "curved", "sub": "curved", "jti": "one"})))
    wrong: list[dict[str, Any]] = [
        {"aud": "https://elsewhere.example/oauth/token"},
        {"aud": None},
        {"exp": now - 301},
        {"exp": now + 601},
        {"iat": now + 301},
        {"nbf": now + 301},
        {"iat": "now"},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1 << 80},
        {"iss": "curved"},
        {"sub": "curved"},
        {"sub": "an\0na"},
        {"sub": "\ud800"},
        {"sub": 7},
        {"jti": ""},
        {"jti": "x" * 201},
        {"jti": "a\0b"},
        {"jti": "\ud800"},
        {"jti": None},
    ]
    for index, change in enumerate(wrong):
        token_refused(send(signed(key, "Ed25519", claims | {"jti": f"w{index}"} | change)), 401, "invalid_client")
    head = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    for text in ("", "x", "a.b.c", "é.é.é", f"{head}.{once.split('.')[1]}.x", f"x.{head}.x"):
        token_refused(send(text), 401, "invalid_client")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    token_refused(send(f"{none}.{once.split('.')[1]}."), 401, "invalid_client")
    talk.clock.forward(seconds=331)
    token_refused(send(once), 401, "invalid_client")


NESTED = base64.urlsafe_b64encode(b"[" * 20_000).decode().rstrip("=")


def test_what_is_no_token_is_no_fault_either(lite: Talk) -> None:
    for token in ("x", "a.b.c", f"{NESTED}.e30.x", "é", "eyJhbGciOiJub25lIn0.e30.", "=.=.="):
        header = {"Authorization": f"Bearer {token}".encode()}
        refused(lite.request("GET", "/v1/account", headers=header), 401, "unauthenticated")


def test_rates_are_limited_for_each_by_itself(start: Callable[..., Talk]) -> None:
    talk = start(account_rate="3/minute", public_rate="2/minute", token_rate="2/minute")
    for _ in range(3):
        good(talk.get("web", "/v1/account"))
    problem = talk.get("web", "/v1/account")
    refused(problem, 429, "too-many")
    assert 1 <= int(problem.headers["Retry-After"]) <= 61
    good(talk.get("bank", "/v1/account"))
    for _ in range(2):
        good(talk.get(None, "/v1/numbers/+6281234567890"))
    refused(talk.get(None, "/v1/numbers/+6281234567890"), 429, "too-many")
    for _ in range(2):
        token_refused(ask(talk, auth=("stranger", "x")), 401, "invalid_client")
    assert ask(talk, auth=("stranger", "x")).status_code == 429
    token_refused(ask(talk, auth=("other", "x")), 401, "invalid_client")


def test_an_account_is_read_once_for_all_who_ask_at_a_time(lite: Talk) -> None:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(lite.exchange.database._engine, "before_cursor_execute", note)
    accounts, claims = AccountCache(lite.exchange.database), Claims("web", frozenset({"report"}), 0)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(accounts.find(claims) for _ in range(10)))

    assert {row.name for row in asyncio.run(ask())} == {"web"}
    assert len([each for each in statements if "FROM accounts" in each]) == 1
    assert asyncio.run(ask())[0].name == "web"
    assert len([each for each in statements if "FROM accounts" in each]) == 1


def test_tokens_are_counted_for_who_asks_and_for_the_address(start: Callable[..., Talk]) -> None:
    talk = start(token_rate="3/minute")
    keys = {name: OKPKey.generate_key("Ed25519") for name in ("signer", "other")}
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        for name, key in keys.items():
            add_account(session, name, "report", key=key.as_pem(private=False).decode(), now=START)
    proofs = itertools.count()

    def prove(name: str, **form: Any) -> Any:
        claims = {"iss": name, "sub": name, "aud": talk.url, "exp": int(talk.clock().timestamp()) + 60}
        assertion = signed(keys[name], "Ed25519", claims | {"jti": str(next(proofs))})
        return ask(talk, client_assertion_type=ASSERTION, client_assertion=assertion, **form)

    for _ in range(4):
        nameless = ask(talk)
    assert nameless.status_code == 429
    good(prove("signer"))
    token_refused(prove("signer", client_id="other"), 401, "invalid_client")
    for _ in range(2):
        good(prove("signer", client_id="signer"))
    for form in ({}, {"client_id": "signer"}):
        assert prove("signer", **form).status_code == 429
    good(prove("other"))
    answers = [ask(talk, auth=(f"invented-{index}", "x")).status_code for index in range(30)]
    assert set(answers) == {401, 429}
    good(prove("other"))


def test_wrong_tries_lock_no_right_key(start: Callable[..., Talk], secrets: dict[str, str]) -> None:
    """Many share an address, behind a NAT or a proxy: what one of them does wrong denies another nothing."""
    talk = start(token_rate="3/minute")
    wrong = [ask(talk, auth=(SECRETIVE, "wrong")) for _ in range(5)]
    assert [answer.status_code for answer in wrong] == [401] * 3 + [429] * 2
    assert 1 <= int(wrong[-1].headers["Retry-After"]) <= 61
    good(ask(talk, auth=(SECRETIVE, secrets[SECRETIVE])))
    assert {ask(talk, auth=(f"flood-{index}", "x")).status_code for index in range(60)} == {401, 429}
    assert ask(talk, auth=("another", "x")).status_code == 429, "the address has no tries left"
    good(ask(talk, auth=(SECRETIVE, secrets[SECRETIVE])))
    claims = {"iss": "web", "sub": "web", "aud": talk.url, "exp": int(talk.clock().timestamp()) + 60, "jti": "1"}
    assertion = signed(OKPKey.import_key(secrets["web"]), "Ed25519", claims)
    good(ask(talk, client_assertion_type=ASSERTION, client_assertion=assertion))
    good(ask(talk, auth=(SECRETIVE, secrets[SECRETIVE])))
    assert ask(talk, auth=(SECRETIVE, secrets[SECRETIVE])).status_code == 429, "so many tokens in a minute"


def test_failed_log_ins_fill_no_log(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    log = RefusedLogIns(RateLimits())
    for index in range(1_000):
        log.add(f"made-up-{index}", "192.0.2.1", "no account has this name")
    assert len(caplog.records) == 100
    caplog.clear()
    log = RefusedLogIns(RateLimits())
    for _ in range(50):
        log.add("anna", "192.0.2.1", "the secret is wrong")
    log.add("budi", "192.0.2.1", "the secret is wrong")
    assert len(caplog.records) == 11
    last = "log-in refused: account budi at 192.0.2.1: the secret is wrong (40 more since the last line)"
    assert caplog.records[-1].message == last


def test_tokens_hold_at_their_own_exchange_only(lite: Talk, start: Callable[..., Talk], tmp_path: Path) -> None:
    def status(header: dict[str, str]) -> int:
        return lite.request("GET", "/v1/account", headers=header).status_code

    own = lite.token("web")
    assert status(own) == 200
    now, key = lite.clock().timestamp(), lite.exchange.directory / "token-key.pem"

    def made(issuer: str, audience: str | None, at: float) -> dict[str, str]:
        token = Tokens(key, lifetime_s=900, issuer=issuer, audience=audience).issue("web", ["report"], at)
        return {"Authorization": f"Bearer {token}"}

    instance = lite.exchange.database.instance()
    assert status(made(instance, None, now)) == 200
    elsewhere = [("urn:uuid:another", None), (instance, "https://x.example"), ("urn:uuid:another", instance)]
    assert {status(made(issuer, audience, now)) for issuer, audience in elsewhere} == {401}
    assert [status(made(instance, None, now + ahead)) for ahead in (299, 300, 301, 86_400)] == [200, 200, 401, 401]
    # A copied folder, with the same key: its tokens hold neither with another address nor with another database.
    renamed = start(url="https://copy.example")
    assert renamed.request("GET", "/v1/account", headers=own).status_code == 401
    assert renamed.get("web", "/v1/account").status_code == 200
    another = Database("sqlite:///another.sqlite", directory=tmp_path)
    another.create()
    assert another.instance() != instance
    another.close()


def test_a_database_that_cannot_be_reached_is_said_to_be_away(
    start: Callable[..., Talk], new_postgres: Callable[[], str]
) -> None:
    from support.postgres import run_sql

    url = new_postgres()
    talk = start(url)
    body = talk.new_report()
    server, _, name = url.rpartition("/")
    run_sql(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    run_sql(f"{server}/postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for answer in (talk.post("web", "/v1/reports", body, key="again"), talk.get(None, "/readyz")):
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
    good(talk.get(None, "/healthz"))
    run_sql(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert talk.post("web", "/v1/reports", body, key="again").status_code == 201


def test_secrets_are_nowhere_in_the_folder(lite: Talk, secrets: dict[str, str]) -> None:
    secret = secrets[SECRETIVE].encode()
    for path in lite.exchange.directory.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    assert (lite.exchange.directory / "token-key.pem").stat().st_mode & 0o077 == 0
