"""The audience of a signed assertion: one made out to another server is refused."""

from collections.abc import Callable

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from blocklist_sdk import InvalidInput
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from support.talking import Talk

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
URL = "https://exchange.example"


@pytest.mark.parametrize("host", ["exchange.example", "elsewhere.example"])
def test_an_assertion_is_for_the_exchange_whatever_host_the_request_names(
    start: Callable[..., Talk], secrets: dict[str, str], host: str
) -> None:
    talk = start(url=URL)
    key = OKPKey.import_key(secrets["web"])
    claims = {"iss": "web", "sub": "web", "exp": int(talk.clock().timestamp()) + 60}

    def status(audience: str) -> int:
        assertion = jwt.encode({"alg": "Ed25519"}, claims | {"aud": audience, "jti": audience}, key, ["Ed25519"])
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
        return talk.request("POST", "/oauth/token", data=form, headers={"Host": host}).status_code

    assert [status(f"{URL}{path}") for path in ("", "/", "/oauth/token")] == [200] * 3
    for other in ("http://elsewhere.example", "https://elsewhere.example/oauth/token", f"{URL}/other", talk.url):
        assert status(other) == 401, other


def test_without_an_address_of_its_own_it_takes_none_that_another_server_may_have_been_given(
    lite: Talk, secrets: dict[str, str]
) -> None:
    key = OKPKey.import_key(secrets["web"])

    def ask(host: str) -> httpx.Response:
        claims = {"iss": "web", "sub": "web", "exp": int(lite.clock().timestamp()) + 60}
        assertion = jwt.encode({"alg": "Ed25519"}, claims | {"aud": f"http://{host}", "jti": host}, key, ["Ed25519"])
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
        return lite.request("POST", "/oauth/token", data=form, headers={"Host": host})

    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        assert ask(host).status_code == 200, host
    for host in ("exchange.example", "192.0.2.1", "127.0.0.1.exchange.example", "localhost.example", "0.0.0.0"):
        answer = ask(host)
        assert answer.status_code == 401, host
        assert "`url`" in answer.json()["error_description"]


def test_the_settings_file_keeps_the_address_and_refuses_what_is_none() -> None:
    assert f'url = "{URL}"' in ExchangeSettings.of({"url": URL}).to_toml()
    assert "url" not in ExchangeSettings().to_toml().split()
    with pytest.raises(InvalidInput, match="url"):
        ExchangeSettings.of({"url": "exchange.example"})
