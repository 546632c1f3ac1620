"""A repository behind an account, read by a client that is written from ``docs/reference/protocol.md`` alone.

It uses the standard library, and a library that signs; nothing of this project.
"""

import base64
import json
import secrets as random_texts
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.talking import SECRETIVE, Talk

FEED = "id-telkomsel"


class Client:
    """Reads a repository with an account.

    Attributes:
        base: the base URL of the repository.
        endpoint: the token endpoint: its origin, and `/oauth/token`.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        parts = urlsplit(base)
        self.endpoint = f"{parts.scheme}://{parts.netloc}/oauth/token"

    def token(self, headers: dict[str, str] | None = None, **form: str) -> tuple[int, dict[str, Any]]:
        body = urlencode({"grant_type": "client_credentials", **form}).encode()
        status, data = _answer(urllib.request.Request(self.endpoint, body, headers or {}))
        return status, json.loads(data)

    def with_secret(self, account: str, secret: str, **form: str) -> tuple[int, dict[str, Any]]:
        pair = base64.b64encode(f"{quote_plus(account)}:{quote_plus(secret)}".encode()).decode()
        return self.token({"Authorization": f"Basic {pair}"}, **form)

    def with_key(self, account: str, key: Ed25519PrivateKey, now: float, **claims: Any) -> tuple[int, dict[str, Any]]:
        said = {"iss": account, "sub": account, "aud": self.endpoint, "iat": int(now), "exp": int(now) + 60}
        said |= {"jti": random_texts.token_urlsafe(16)} | claims
        text = ".".join(_coded(json.dumps(part).encode()) for part in ({"alg": "Ed25519"}, said))
        assertion = f"{text}.{_coded(key.sign(text.encode()))}"
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return self.token(client_assertion_type=kind, client_assertion=assertion)

    def file(self, path: str, token: str | None) -> tuple[int, bytes]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return _answer(urllib.request.Request(f"{self.base}/{path}", headers=headers))


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _answer(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def client(lite: Talk) -> Client:
    return Client(f"{lite.url}/repository")


def key_of(secrets: dict[str, str], account: str) -> Ed25519PrivateKey:
    key = load_pem_private_key(secrets[account].encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def test_an_account_with_a_key_reads_its_feed(lite: Talk, client: Client, secrets: dict[str, str]) -> None:
    status, answer = client.with_key("telkomsel", key_of(secrets, "telkomsel"), lite.clock().timestamp())
    assert (status, answer["token_type"].lower()) == (200, "bearer")
    assert 0 < answer["expires_in"] <= 86_400
    token = answer["access_token"]
    status, data = client.file("metadata/timestamp.json", token)
    assert status == 200
    snapshot = json.loads(data)["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = json.loads(client.file(f"metadata/{snapshot}.snapshot.json", token)[1])["signed"]["meta"]
    feed = json.loads(client.file(f"metadata/{snapshot[f'{FEED}.json']['version']}.{FEED}.json", token)[1])["signed"]
    for path, target in feed["targets"].items():
        name = path.rpartition("/")[2]
        status, data = client.file(f"targets/{FEED}/{target['hashes']['sha256']}.{name}", token)
        assert (status, len(data)) == (200, target["length"])
    roots = snapshot["targets.json"]["version"]
    protected = json.loads(client.file(f"metadata/{roots}.targets.json", token)[1])["signed"]["targets"]
    for path, target in protected.items():
        assert client.file(f"targets/{target['hashes']['sha256']}.{path}", token)[0] == 200
    # Another's feed, whether or not the file is there; and a root that does not exist.
    other = snapshot["id-indosat.json"]["version"]
    assert client.file(f"metadata/{other}.id-indosat.json", token)[0] == 403
    assert client.file("targets/id-indosat/nothing", token)[0] == 403
    assert client.file(f"targets/{FEED}/nothing", token)[0] == 404
    assert client.file("metadata/99.root.json", token)[0] == 404


def test_an_account_with_a_secret_gets_a_token_for_some_of_its_scopes(client: Client, secrets: dict[str, str]) -> None:
    status, answer = client.with_secret(SECRETIVE, secrets[SECRETIVE], scope="report")
    assert (status, answer["scope"]) == (200, "report")
    assert client.token(client_id=SECRETIVE, client_secret=secrets[SECRETIVE])[0] == 200
    status, answer = client.with_secret(SECRETIVE, secrets[SECRETIVE], scope="feed:id-telkomsel")
    assert (status, answer["error"]) == (400, "invalid_scope")
    status, answer = client.with_secret(SECRETIVE, "wrong")
    assert (status, answer["error"]) == (401, "invalid_client")


def test_what_is_refused_is_told_apart_by_its_status(lite: Talk, client: Client, secrets: dict[str, str]) -> None:
    now, key = lite.clock().timestamp(), key_of(secrets, "telkomsel")
    wrong: dict[str, dict[str, Any]] = {
        "audience": {"aud": "https://elsewhere.example/oauth/token"},
        "too long": {"exp": int(now) + 3_600},
        "too late": {"exp": int(now) - 301},
        "another's": {"iss": "indosat"},
        "no id": {"jti": ""},
    }
    for name, claims in wrong.items():
        status, answer = client.with_key("telkomsel", key, now, **claims)
        assert (status, answer["error"]) == (401, "invalid_client"), name
    origin = client.endpoint.removesuffix("/oauth/token")
    assert client.with_key("telkomsel", key, now, aud=origin, exp=int(now) + 300)[0] == 200
    once = {"jti": "once"}
    assert [client.with_key("telkomsel", key, now, **once)[0] for _ in range(2)] == [200, 401]
    assert client.with_key("telkomsel", key, now - 299)[0] == 200, "clocks differ"
    assert client.token(grant_type="password")[0] == 400
    for token in (None, "invented"):
        assert client.file("metadata/timestamp.json", token)[0] == 401
    # An account that reads no feed reads nothing.
    nobody = client.with_key("web", key_of(secrets, "web"), now)[1]["access_token"]
    for path in ("metadata/timestamp.json", "metadata/1.root.json", "metadata/99.root.json"):
        assert client.file(path, nobody)[0] == 403


def test_a_token_ends(lite: Talk, client: Client, secrets: dict[str, str]) -> None:
    answer = client.with_key("telkomsel", key_of(secrets, "telkomsel"), lite.clock().timestamp())[1]
    assert client.file("metadata/timestamp.json", answer["access_token"])[0] == 200
    lite.clock.forward(seconds=answer["expires_in"] + 1)
    assert client.file("metadata/timestamp.json", answer["access_token"])[0] == 401
