"""Mutual TLS: a client without a certificate of the right authority is refused, even with a valid secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from blocklist_sdk import Blocklist, ExchangeClient, InvalidInput, Unreachable
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import TlsFiles, serving_exchange
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.net.tls import tls_context

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
    secret = exchange.add_account("telkomsel", ("receipt", "feed:id-telkomsel"))
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


def test_certificates_that_cannot_be_used(exchange: Exchange, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    for file in (nothing, tmp_path / "absent.pem"):
        with pytest.raises(InvalidInput), serving_exchange(exchange, tls=TlsFiles(certificate=file, key=file)):
            pass
