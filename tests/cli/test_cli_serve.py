"""What `blocklist serve` refuses before it listens, each with what to do."""

import socket
from pathlib import Path

import pytest
import trustme

from blocklist_sdk.net.addresses import is_loopback
from support.command_line import assert_fails, run

ENV = {"BLOCKLIST_URL": "https://lists.example", "BLOCKLIST_FEED": "id-messaging", "BLOCKLIST_ROOT": "root.json"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("root.json").write_text("{}")
    return tmp_path


@pytest.fixture
def certificate(here: Path) -> str:
    made = trustme.CA().issue_cert("127.0.0.1")
    Path("server.pem").write_bytes(b"".join(p.bytes() for p in (made.private_key_pem, *made.cert_chain_pems)))
    return "server.pem"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "lists.example", ""])
def test_other_machines_need_a_token_or_a_certificate(host: str, certificate: str) -> None:
    for tls in ((), ("--tls-cert", certificate, "--tls-key", certificate)):
        for door in ((), ("--redis-port", "0", "--uds", "s")):
            ran = run("serve", "--host", host, *door, *tls, env=ENV)
            assert_fails(ran, 2, "can be reached from other machines", "--token-file", "--client-ca", "127.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--every", "15m"), ("--watch",)),
        (("--watch", "--every", "soon"), ("is not a time",)),
        (("--watch", "--every", "0"), ("more than 0",)),
        (("--tls-cert", "a.pem"), ("--tls-cert and --tls-key belong together",)),
        (("--tls-key", "a.pem"), ("--tls-cert and --tls-key belong together",)),
        (("--client-ca", "a.pem"), ("--tls-cert",)),
        (("--tls-cert", "a.pem", "--tls-key", "a.pem"), ("cannot read a.pem",)),
        (("--tls-cert", "empty", "--tls-key", "empty"), ("cannot use empty", "PEM")),
        (("--token-file", "missing"), ("cannot read the token file missing",)),
        (("--token-file", "empty"), ("the token file empty is empty",)),
        (("--token-file", "blank"), ("the token",)),
        (("--token-file", "short"), ("the token", "16")),
        (("--workers", "0"), ("from 1 to 256",)),
        (("--workers", "257"), ("from 1 to 256",)),
        (("--port", "65536"), ("--port",)),
        (("--port", "http"), ("--port",)),
        (("--redis-port", "-1"), ("--redis-port",)),
        (("--uds", "root.json"), ("is not a socket", "another path")),
        (("--uds", "missing/s"), ("cannot listen on the Unix socket", "another path")),
        (("--uds", "s" * 120), ("100 bytes",)),
        (("--host", "nowhere.invalid", "--token-file", "token"), ("cannot listen on nowhere.invalid",)),
    ],
)
def test_what_cannot_be_used_is_named(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    for name, content in (("empty", ""), ("blank", "a b\n"), ("short", "abc\n"), ("token", "generated-for-a-test\n")):
        Path(name).write_text(content)
        Path(name).chmod(0o600)
    assert_fails(run("serve", *arguments, env=ENV), 2, *words)


def test_the_list_s_settings_are_needed() -> None:
    assert_fails(run("serve"), 2, "url", "feed", "root")


def test_a_living_socket_and_its_service_stay() -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind("s")
        living.listen()
        assert_fails(run("serve", "--uds", "s", env=ENV), 2, "another process listens")
        assert Path("s").is_socket()


def test_a_dead_socket_is_kept_where_something_else_is_wrong() -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("s")
    assert_fails(run("serve", "--uds", "s", "--workers", "0", env=ENV), 2)
    assert Path("s").is_socket()


def test_which_addresses_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "LOCALHOST", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "localhost.example", "")))
