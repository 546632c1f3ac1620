"""An exchange's settings, and those that are not shown."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.database import Database
from support.talking import OFFLINE_PASSPHRASE, PASSPHRASE, Talk

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def test_an_assertion_for_another_exchange_is_refused_whatever_host_the_request_names(
    start: Callable[..., Talk], secrets: dict[str, str]
) -> None:
    talk = start(url="https://exchange.example/")
    key = OKPKey.import_key(secrets["web"])

    def status(meant_for: str, host: str) -> int:
        claims: dict[str, object] = {"iss": "web", "sub": "web", "aud": meant_for, "jti": meant_for + host}
        claims |= {"exp": int(talk.clock().timestamp()) + 60}
        signed = jwt.encode({"alg": "Ed25519"}, claims, key, algorithms=["Ed25519"])
        body = {"grant_type": "client_credentials", "client_assertion_type": JWT_BEARER, "client_assertion": signed}
        return talk.request("POST", "/oauth/token", data=body, headers={"Host": host}).status_code

    for address in ("http://another.example", "http://another.example/oauth/token"):
        assert status(address, "another.example") == 401
    for address in ("https://exchange.example", "https://exchange.example/", "https://exchange.example/oauth/token"):
        assert status(address, "10.0.0.1:8080") == 200


@pytest.mark.parametrize("issuer", ['the "authority"', "a\\nb", "two\nlines", "Komdigi ☎"])
def test_settings_are_read_as_they_were_written(tmp_path: Path, issuer: str) -> None:
    settings = ExchangeSettings(issuer=issuer)
    Exchange.init(
        tmp_path / "exchange", passphrase=PASSPHRASE, offline_passphrase=OFFLINE_PASSPHRASE, settings=settings
    ).close()
    assert ExchangeSettings.load(tmp_path / "exchange") == settings
    assert (tmp_path / "exchange" / "exchange.toml").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("rate", ["often", "", "0/minute", "30/minute;100/hour", "-1/minute"])
def test_a_rate_is_one_and_allows_a_request(rate: str) -> None:
    with pytest.raises(InvalidInput, match="public_rate"):
        ExchangeSettings.of({"public_rate": rate})
    with pytest.raises(InvalidInput, match="one rate only"):
        ExchangeSettings.of({"public_rate": "30/minute;100/hour"})
    assert ExchangeSettings.of({"public_rate": "5 per 2 minutes"}).public_rate == "5 per 2 minutes"


def test_the_databases_password_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql://exchange:open-sesame@db:port/exchange"
    assert "open-sesame" not in repr(ExchangeSettings(database=url))
    with pytest.raises(InvalidInput) as caught:
        Database(url, directory=tmp_path)
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["exchange.example", "ftp://exchange.example", "https://me:word@exchange.example"])
def test_the_address_is_one(url: str) -> None:
    with pytest.raises(InvalidInput, match="url"):
        ExchangeSettings.of({"url": url})


def test_without_the_driver_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidInput, match=r"psycopg.* pip install '\.\[exchange\]'"):
        Database("postgresql://exchange@db/exchange", directory=tmp_path)
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]
    assert set(extras["postgres"]) <= set(extras["exchange"]), "an exchange may be on PostgreSQL"
