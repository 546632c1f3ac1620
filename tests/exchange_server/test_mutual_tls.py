"""Mutual TLS: a client without a certificate of the right authority is refused, even with a valid secret.

So is one whose certificate is that of another account, and a token that was got with another certificate.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trustme

from blocklist_sdk import Blocklist, ExchangeClient, InvalidInput, Unreachable
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.exchange_server.casework import certificates
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import serving_exchange
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.net.server_tls import TlsFiles
from blocklist_sdk.net.tls import tls_context
from support.waiting import until

IMPATIENT = ClientSettings(attempts=1)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    folder = tmp_path_factory.mktemp("mutual") / "exchange"
    with Exchange.init(folder, passphrase="generated for a test", offline_passphrase="of root and targets") as exchange:
        exchange.begin()
        yield exchange


def certificate(authority: trustme.CA, folder: Path, name: str) -> Path:
    made = authority.issue_cert(name, common_name=name)
    file = folder / f"{name}.pem"
    parts = [made.private_key_pem, *made.cert_chain_pems]
    file.write_bytes(b"".join(part.bytes() for part in parts))
    return file


def test_a_certificate_is_needed_on_both_sides(exchange: Exchange, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    server = certificate(authority, tmp_path, "127.0.0.1")
    own, foreign = certificate(authority, tmp_path, "telkomsel.example"), certificate(stranger, tmp_path, "x.example")
    secret = exchange.add_account("telkomsel", ("receipt", "feed:id-telkomsel"), certificates=[own.read_text()])
    assert secret is not None
    with serving_exchange(exchange, tls=TlsFiles(certificate=server, key=server, client_ca=ca), publish=False) as url:
        assert url.startswith("https://")
        auth = ClientCredentials.for_exchange(url, "telkomsel", secret)
        shown = tls_context(ca=ca, client_cert=own)
        with ExchangeClient(url, auth=auth, tls=shown) as client:
            assert client.get_account().name == "telkomsel"
        with Blocklist.open(
            f"{url}/repository",
            feed="id-telkomsel",
            root=exchange.root,
            cache_dir=tmp_path / "cache",
            auth=auth,
            tls=shown,
        ) as blocklist:
            assert blocklist.sync().after == 1
        for context in (tls_context(ca=ca), tls_context(ca=ca, client_cert=foreign), tls_context()):
            with (
                ExchangeClient(url, auth=auth, tls=context, settings=IMPATIENT) as client,
                pytest.raises(Unreachable),
            ):
                client.get_account()


def test_an_account_and_its_tokens_are_bound_to_its_certificates(
    exchange: Exchange, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    server = certificate(authority, tmp_path, "127.0.0.1")
    files = {name: certificate(authority, tmp_path, f"{name}.example") for name in ("bound", "renewed", "other")}
    bound = exchange.add_account("bound", ("report",), certificates=[files["bound"].read_text()])
    unbound = exchange.add_account("unbound", ("report",))
    secrets = {"bound": bound, "unbound": unbound}

    def ask(name: str, account: str, path: str = "/oauth/token", token: str | None = None) -> httpx.Response:
        with httpx.Client(base_url=url, verify=tls_context(ca=ca, client_cert=files[name])) as client:
            if token is not None:
                return client.get(path, headers={"Authorization": f"Bearer {token}"})
            form = {"grant_type": "client_credentials", "client_id": account, "client_secret": secrets[account]}
            return client.post(path, data=form)

    with serving_exchange(exchange, tls=TlsFiles(certificate=server, key=server, client_ca=ca), publish=False) as url:
        token = ask("bound", "bound").json()["access_token"]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first_certificate(files["bound"]))).digest()
        assert claims["cnf"] == {"x5t#S256": base64.urlsafe_b64encode(fingerprint).decode().rstrip("=")}
        assert ask("bound", "bound", "/v1/account", token).status_code == 200

        caplog.clear()
        answers = [
            ask("other", "bound"),  # its secret with the certificate of another
            ask("other", "unbound"),  # no certificate of its own
            ask("other", "bound", "/v1/account", token),  # its token with the certificate of another
        ]
        assert [answer.status_code for answer in answers] == [401] * 3
        logged = [record.message for record in caplog.records if "log-in" in record.message]
        assert [line.split(": ")[2] for line in logged] == [
            "the account is bound to another client certificate",
            "the account is bound to no client certificate, and only accounts that are bound to one are served",
            "the token is bound to another client certificate than the one shown",
        ]
        assert {line.rpartition(": ")[0] for line in logged} == {
            "log-in refused: account bound at 127.0.0.1",
            "log-in refused: account unbound at 127.0.0.1",
        }

        # Renewed: both hold, and then the new one alone; a token is bound to the one it was got with.
        exchange.bind_certificates("bound", [files["bound"].read_text(), files["renewed"].read_text()])
        second = ask("renewed", "bound").json()["access_token"]
        until(lambda: ask("renewed", "bound", "/v1/account", second).status_code == 200)
        assert ask("renewed", "bound", "/v1/account", token).status_code == 401
        exchange.bind_certificates("bound", [files["renewed"].read_text()])
        until(lambda: ask("bound", "bound", "/v1/account", token).status_code == 401)
        assert ask("bound", "bound").status_code == 401

    # Where no client shows one, a bound account is closed, and the others are open as ever.
    with serving_exchange(exchange, publish=False) as url, httpx.Client(base_url=url) as client:
        refused = client.get("/v1/account", headers={"Authorization": f"Bearer {second}"})
        assert (refused.status_code, "bound to" in refused.json()["detail"]) == (401, True)
        form = {"grant_type": "client_credentials", "client_id": "bound", "client_secret": secrets["bound"]}
        refused = client.post("/oauth/token", data=form)
        assert (refused.status_code, "none was shown" in refused.json()["error_description"]) == (401, True)
        form |= {"client_id": "unbound", "client_secret": secrets["unbound"]}
        plain = client.post("/oauth/token", data=form).json()["access_token"]
        assert client.get("/v1/account", headers={"Authorization": f"Bearer {plain}"}).status_code == 200

    lenient = replace(exchange, settings=exchange.settings.model_copy(update={"unbound_accounts": True}))
    with serving_exchange(lenient, tls=TlsFiles(certificate=server, key=server, client_ca=ca), publish=False) as url:
        token = ask("other", "unbound").json()["access_token"]
        assert ask("other", "unbound", "/v1/account", token).status_code == 200
        assert ask("bound", "unbound", "/v1/account", token).status_code == 401, "it was got with another certificate"
        assert ask("other", "bound").status_code == 401


def first_certificate(file: Path) -> str:
    text = file.read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return text[text.index(begin) : text.index(end)] + end


def test_what_is_no_certificate_binds_nothing(exchange: Exchange) -> None:
    for text in ("", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(InvalidInput, match="client certificate cannot be read"):
            exchange.add_account("nobody", ("report",), certificates=[text])
    with pytest.raises(InvalidInput, match="does not exist"):
        exchange.bind_certificates("nobody", [])
    with pytest.raises(InvalidInput, match="at most 10"):
        certificates.stored([f"{index:064x}" for index in range(11)])


def test_certificates_that_cannot_be_used(exchange: Exchange, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    for file in (nothing, tmp_path / "absent.pem"):
        with pytest.raises(InvalidInput), serving_exchange(exchange, tls=TlsFiles(certificate=file, key=file)):
            pass
