"""``blocklist doctor``: each fault that it knows is made in turn, and must be found with its remedy."""

import contextlib
import gzip
import http.server
import json
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.doctor import network_checks, version_checks
from blocklist_sdk.doctor.examination import CHECKS
from blocklist_sdk.publisher import PublisherGuard, serving
from blocklist_sdk.recipient.cache.store import Store
from support.clock import Clock
from support.command_line import Ran, run
from support.loopback import Handler, answering
from support.world import FEED, PASSPHRASE, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with serving(world.repository) as address:
        yield address


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def write(world: World, url: str, **more: str) -> None:
    settings = {"url": url, "feed": FEED, "root": str(world.publisher.root), "region": "ID", "cache_dir": "cache"}
    Path("blocklist.toml").write_text(
        "".join(f"{name} = {json.dumps(value)}\n" for name, value in (settings | more).items())
    )


@pytest.fixture
def healthy(world: World, url: str) -> None:
    """A set-up in which nothing is wrong."""
    write(world, url)
    assert run("sync").code == 0


def findings(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ran.document["findings"]
    return found


def examined(*arguments: str | Path, env: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]]]:
    ran = run("doctor", "--json", *arguments, env=env)
    # What every command says of secrets that others can see is said here as well.
    usual = ("this machine can read", "with a password", "every user may write in")
    said = [line for line in ran.err.splitlines() if not any(words in line for words in usual)]
    assert (said, "S3cret" in ran.err) == ([], False), ran.err
    return ran.code, findings(ran)


def assert_found(
    code: int, found: list[dict[str, Any]], *, name: str, outcome: str, expected: int, message: str, remedy: str
) -> None:
    """Check that one finding says this, and what the command ended with."""
    at_fault = [each for each in found if each["outcome"] in ("warn", "fail")]
    fitting = [each for each in at_fault if each["name"] == name and each["outcome"] == outcome]
    assert any(message in each["message"] and remedy in each["remedy"] for each in fitting), at_fault
    assert code == expected, at_fault
    assert not [each for each in at_fault if "fault of this library" in each["message"]]


def test_nothing_is_found_where_nothing_is_wrong(healthy: None) -> None:
    code, found = examined()
    assert code == 0
    assert {each["outcome"] for each in found} == {"ok", "skipped"}, found
    names = {each["name"] for each in found if each["outcome"] == "ok"}
    assert names >= {"versions", "settings", "permissions", "root", "disk", "lock", "address", "proxy", "certificates"}
    assert names >= {"name", "connection", "clock", "repository", "feed", "list", "overrides"}


def test_it_is_readable_too(healthy: None) -> None:
    ran = run("doctor")
    assert ran.code == 0
    assert ran.lines[-1].startswith(f"{len(ran.lines) - 1 - ran.out.count('skipped ')} ok, 0 warn, 0 fail")
    assert any(line.startswith("ok      root ") and "fingerprint" in line for line in ran.lines)
    broken = run("doctor", "--root", "nowhere.json")
    assert broken.code == 2
    (remedy,) = (line for before, line in zip(broken.lines, broken.lines[1:], strict=False) if "fail    root" in before)
    assert remedy.strip().startswith("→ get root.json")


def test_it_changes_nothing(world: World, url: str) -> None:
    write(world, url)
    before = sorted(os.listdir())
    assert examined()[0] == 2, "it was never synced"
    assert sorted(os.listdir()) == before
    assert run("sync").code == 0
    tree = {path: path.stat().st_mtime_ns for path in sorted(Path("cache").rglob("*")) if path.is_file()}
    examined("--sink", f"file:{Path('sink').absolute()}")
    lock = Path("cache", FEED, "lock")
    after = {path: path.stat().st_mtime_ns for path in sorted(Path("cache").rglob("*")) if path.is_file()}
    assert {path: at for path, at in after.items() if path != lock} == {p: at for p, at in tree.items() if p != lock}


@pytest.mark.parametrize(
    ("text", "message"),
    [("url = \n", "is not TOML"), ('colour = "red"\n', "sets colour"), ("region = 62\n", "must be text in quotes")],
)
def test_a_settings_file_that_cannot_be_used(text: str, message: str) -> None:
    Path("blocklist.toml").write_text(text)
    assert_found(
        *examined(),
        name="settings",
        outcome="fail",
        expected=2,
        message=message,
        remedy="blocklist init URL --feed NAME",
    )


def test_settings_that_are_missing() -> None:
    assert_found(
        *examined("--url", "https://lists.example"),
        name="settings",
        outcome="fail",
        expected=2,
        message="missing feed and root",
        remedy="BLOCKLIST_FEED BLOCKLIST_ROOT",
    )


def test_where_each_setting_was_found(healthy: None) -> None:
    _, found = examined("--region", "SG", env={"BLOCKLIST_FORM": "national"})
    (settings,) = (each for each in found if each["name"] == "settings")
    assert "blocklist.toml: url, feed, root, region, cache_dir; environment: form; flags: region" in settings["message"]


def test_a_root_that_cannot_be_used(world: World, url: str, healthy: None) -> None:
    Path("root.json").write_text("{}")
    assert_found(
        *examined("--root", "root.json"), name="root", outcome="fail", expected=2, message="root metadata",
        remedy="get root.json from the publisher",
    )  # fmt: skip


def test_the_root_of_another_repository(url: str, healthy: None, tmp_path: Path) -> None:
    other = Publisher.init(tmp_path / "other", feeds=[FEED], passphrase=PASSPHRASE)
    assert_found(
        *examined("--root", other.root), name="repository", outcome="fail", expected=4, message="does not verify",
        remedy="blocklist trust replace",
    )  # fmt: skip


def test_a_newer_root_is_said_to_be_there(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=[FEED], passphrase=PASSPHRASE)
    Path("old.json").write_bytes(publisher.root.read_bytes())
    publisher.rotate_keys("root")
    given = ("--url", publisher.repository.as_uri(), "--feed", FEED, "--root", "old.json", "--cache-dir", "c")
    code, found = examined(*given)
    assert "the repository is at root 2, which follows" in next(
        e["message"] for e in found if e["name"] == "repository"
    )
    assert_found(
        code, found, name="feed", outcome="warn", expected=2, message="no release yet", remedy="ask the publisher"
    )


def test_a_repository_that_has_expired(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(days=8))
    clock.install(monkeypatch)
    code, found = examined()
    assert_found(code, found, name="list", outcome="fail", expected=5, message="expiry", remedy="blocklist sync")
    assert_found(code, found, name="repository", outcome="fail", expected=5, message="expired", remedy="clock")
    # The server's own clock is this machine's, and so is 8 days behind.
    assert_found(code, found, name="clock", outcome="fail", expected=5, message="ahead of the server", remedy="set-ntp")


def _endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _dripping(begin: bytes, again: bytes) -> Callable[[Handler], None]:
    def drip(handler: Handler) -> None:
        handler.wfile.write(begin)
        while not handler.stopped.wait(0.05):
            handler.wfile.write(again)
            handler.wfile.flush()

    return drip


def _bomb(handler: Handler) -> None:
    data = gzip.compress(bytes(100_000_000))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_endless, "is longer than"),
        (_dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"), "bytes a second came"),
        (_dripping(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"), "bytes a second came"),
        (_bomb, "comes compressed"),
    ],
    ids=["endless", "slow body", "slow head", "compressed"],
)
def test_a_server_without_an_end_is_given_up(
    world: World,
    healthy: None,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[Handler], None],
    message: str,
) -> None:
    impatient = replace(network_checks._ASKED, minimum_rate_window_s=4.0)
    monkeypatch.setattr(network_checks, "_ASKED", impatient)

    def step_in(handler: Handler) -> bool:
        answer(handler)
        return True

    began = time.monotonic()
    with answering(world.repository, step_in) as (address, _):
        _, found = examined("--url", address)
    assert time.monotonic() - began < 100
    for name in ("connection", "repository"):
        (finding,) = [each for each in found if each["name"] == name]
        assert finding["outcome"] == "fail"
        assert message in finding["message"]


def test_an_answer_that_a_cache_kept_says_nothing_of_the_clock(world: World, healthy: None) -> None:
    def kept(handler: Handler) -> bool:
        data = (handler.repository / handler.path.lstrip("/")).read_bytes() if "timestamp" in handler.path else None
        if data is None:
            return False
        handler.send_response_only(200)
        handler.send_header("Date", format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True))
        handler.send_header("Age", "7200")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return True

    with answering(world.repository, kept) as (address, _):
        code, found = examined("--url", address)
    assert [each["outcome"] for each in found if each["name"] == "clock"] == ["ok"], found
    assert code == 0


def test_an_address_that_leads_elsewhere_is_followed_as_by_a_sync(world: World, healthy: None, url: str) -> None:
    def moved(handler: Handler) -> bool:
        handler.send_response(302)
        handler.send_header("Location", url + handler.path)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    with answering(world.repository, moved) as (address, _):
        assert run("sync", "--url", address).code == 0
        code, found = examined("--url", address)
    assert [each["outcome"] for each in found if each["name"] == "connection"] == ["ok"], found
    assert code == 0


@pytest.mark.parametrize(("days", "message"), [(10, "behind the server's"), (-10, "ahead of the server's")])
def test_a_clock_that_is_off(world: World, healthy: None, days: int, message: str) -> None:
    def dated(handler: Handler) -> bool:
        data = (handler.repository / handler.path.lstrip("/")).read_bytes() if "timestamp" in handler.path else None
        if data is None:
            return False
        handler.send_response_only(200)
        handler.send_header("Date", format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True))
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return True

    with answering(world.repository, dated) as (address, _):
        code, found = examined("--url", address)
    assert_found(code, found, name="clock", outcome="fail", expected=5, message=message, remedy="timedatectl set-ntp")


def test_a_name_that_is_not_known(healthy: None) -> None:
    code, found = examined("--url", "https://lists.invalid")
    assert_found(
        code,
        found,
        name="name",
        outcome="fail",
        expected=3,
        message="lists.invalid is not known",
        remedy="getent hosts",
    )


def test_a_server_that_does_not_answer(healthy: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, found = examined("--url", address)
    assert_found(
        code, found, name="connection", outcome="fail", expected=3, message="connection failed", remedy="firewall"
    )


@pytest.mark.parametrize(
    ("status", "expected", "remedy"),
    [(401, 77, "client_id"), (403, 77, "scope of the feed"), (404, 3, "check url"), (503, 3, "try again later")],
)
def test_a_server_that_refuses(world: World, healthy: None, status: int, expected: int, remedy: str) -> None:
    with answering(world.repository, lambda handler: handler.fail(status)) as (address, _):
        code, found = examined("--url", address)
    assert_found(code, found, name="connection", outcome="fail", expected=expected, message=str(status), remedy=remedy)


@pytest.mark.parametrize(
    ("value", "name", "message", "remedy"),
    [
        ("http://me:S3cret@127.0.0.1:9", "connection", "HTTP_PROXY", "NO_PROXY"),
        ("http://[::1", "proxy", "proxy", "correct HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_fails(
    healthy: None, monkeypatch: pytest.MonkeyPatch, value: str, name: str, message: str, remedy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    code, found = examined("--url", "http://lists.example")
    assert "S3cret" not in json.dumps(found)
    assert code in (2, 3)
    assert_found(code, found, name=name, outcome="fail", expected=code, message=message, remedy=remedy)


def test_the_proxy_in_use_is_named(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:S3cret@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _, found = examined("--offline", "--url", "https://lists.example")
    (message,) = (each["message"] for each in found if each["name"] == "proxy")
    assert "http://proxy.example:3128" in message
    assert "ALL_PROXY" in message
    assert "S3cret" not in message
    _, found = examined()
    assert "directly" in next(each["message"] for each in found if each["name"] == "proxy")


@contextlib.contextmanager
def encrypted(repository: Path, authority: trustme.CA) -> Iterator[str]:
    """A repository behind TLS, certified by an authority of our own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(repository))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_certificate_of_ones_own_authority(world: World, healthy: None) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("authority.pem")
    with encrypted(world.repository, authority) as address:
        code, found = examined("--url", address)
        assert_found(
            code, found, name="connection", outcome="fail", expected=4, message="was not trusted", remedy="--ca"
        )
        _, found = examined("--url", address, "--ca", "authority.pem")
        assert next(each["outcome"] for each in found if each["name"] == "connection") == "ok", found
    code, found = examined("--ca", "nowhere.pem")
    assert_found(
        code, found, name="certificates", outcome="fail", expected=2, message="nowhere.pem", remedy="PEM files"
    )


def test_certificates_of_the_environment(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    code, found = examined("--offline")
    assert_found(
        code, found, name="certificates", outcome="fail", expected=2, message="SSL_CERT_FILE", remedy="unset it"
    )


@pytest.mark.parametrize("port", ["S3cret", "99999"])
def test_an_address_that_is_none_shows_no_password(healthy: None, port: str) -> None:
    code, found = examined("--url", f"https://me:S3cret@lists.example:{port}")
    assert "S3cret" not in json.dumps(found)
    assert_found(code, found, name="address", outcome="fail", expected=2, message="cannot be read", remedy="url")


def test_an_account_without_its_proof(healthy: None) -> None:
    code, found = examined("--offline", "--client-id", "gopay")
    assert_found(
        code, found, name="account", outcome="fail", expected=2, message="exactly one", remedy="client_secret_file"
    )
    code, found = examined("--offline", "--client-id", "gopay", "--client-key", "nowhere.pem")
    assert_found(
        code, found, name="account", outcome="fail", expected=2, message="nowhere.pem", remedy="correct client_key"
    )
    _, found = examined("--client-id", "gopay", "--client-key", "nowhere.pem")
    assert [each["name"] for each in found if each["outcome"] == "fail"] == ["account"], "said once"
    assert {each["name"] for each in found if "cannot be read" in each["message"] and each["outcome"] == "skipped"} == {
        "connection",
        "clock",
        "repository",
    }


def test_an_account_that_is_not_needed(world: World) -> None:
    """From this disk no token is asked for, so nothing is said of a secret that was not read."""
    write(world, world.repository.as_uri(), client_id="gopay", client_secret_file="nowhere")
    said = {each["name"]: each for each in examined()[1]}
    assert (said["account"]["outcome"], "no token" in said["account"]["message"]) == ("skipped", True)


def test_a_variable_that_is_misspelled(healthy: None) -> None:
    """It is read by nobody, so the list would go to the default directories, or be another one."""
    code, found = examined(env={"BLOCKLIST_CACHEDIR": "/cache", "BLOCKLIST_PORT": "tcp://10.0.0.1:80"})
    assert_found(
        code,
        found,
        name="settings",
        outcome="warn",
        expected=0,
        message="BLOCKLIST_CACHEDIR",
        remedy="BLOCKLIST_CACHE_DIR",
    )
    assert "BLOCKLIST_PORT" not in json.dumps(found)


def test_no_temporary_directory(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a read-only root without a tmpfs: it is no fault of this library, and has a remedy."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    code, found = examined()
    assert_found(code, found, name="repository", outcome="fail", expected=74, message="TMPDIR", remedy="run this again")
    ran = run("feeds")
    assert (ran.code, "TMPDIR" in ran.err) == (74, True)


def test_secrets_that_others_may_read(world: World, url: str, healthy: None) -> None:
    write(world, url, client_id="gopay", client_secret="S3cret")
    Path("blocklist.toml").chmod(0o644)
    code, found = examined("--offline")
    assert "S3cret" not in json.dumps(found)
    assert_found(
        code, found, name="permissions", outcome="warn", expected=0, message="blocklist.toml holds a secret",
        remedy="chmod o= blocklist.toml",
    )  # fmt: skip
    Path("blocklist.toml").chmod(0o600)
    assert "warn" not in {each["outcome"] for each in examined("--offline")[1]}
    Path("secret").write_text("S3cret")
    Path("secret").chmod(0o644)
    code, found = examined("--offline", "--client-secret-file", "secret")
    assert_found(
        code, found, name="permissions", outcome="warn", expected=0, message="client_secret_file", remedy="chmod o="
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [({"group": "no-such-group"}, "there is no group 'no-such-group'"), ({"file_mode": "0777"}, "file_mode must be")],
)
def test_a_group_or_mode_that_cannot_be_given(
    world: World, url: str, healthy: None, more: dict[str, str], message: str
) -> None:
    write(world, url, **more)
    code, found = examined("--offline")
    assert_found(code, found, name="group", outcome="fail", expected=2, message=message, remedy="file_mode")
    write(world, url, file_mode="0644")
    code, found = examined("--offline")
    assert code == 0
    assert "0644" in next(each["message"] for each in found if each["name"] == "group")


def test_a_cache_that_everyone_may_write(healthy: None) -> None:
    Path("cache", FEED).chmod(0o777)
    assert_found(
        *examined(),
        name="permissions",
        outcome="warn",
        expected=0,
        message="decide what is blocked",
        remedy="chmod o-w",
    )


def test_protected_numbers_that_cannot_be_read(healthy: None) -> None:
    code, found = examined("--protected", "nowhere.txt")
    assert_found(code, found, name="protected", outcome="fail", expected=2, message="nowhere.txt", remedy="protected")
    Path("own.txt").write_text("0812-9999-0000\nGoPay\n")
    code, found = examined("--protected", "own.txt")
    assert_found(code, found, name="protected", outcome="fail", expected=2, message="own.txt", remedy="correct own.txt")
    Path("own.txt").write_text("# none\n")
    code, found = examined("--protected", "own.txt")
    assert_found(code, found, name="protected", outcome="warn", expected=0, message="no number", remedy="add")


def test_a_directory_that_cannot_be_written(healthy: None) -> None:
    code, found = examined("--cache-dir", "/proc/blocklist", "--state-dir", "state")
    assert_found(
        code, found, name="disk", outcome="fail", expected=74, message="/proc/blocklist", remedy="set cache_dir"
    )


def test_a_disk_that_is_nearly_full(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1 << 20))
    assert_found(*examined(), name="disk", outcome="fail", expected=74, message="1 MB left", remedy="make room")


def test_a_sync_that_is_running(healthy: None) -> None:
    with Store(Path("cache", FEED)).lock(0):
        assert_found(*examined(), name="lock", outcome="warn", expected=0, message="another process", remedy="wait")


def test_a_list_that_was_never_synced(world: World, url: str) -> None:
    write(world, url)
    assert_found(*examined(), name="list", outcome="fail", expected=2, message="never synced", remedy="blocklist sync")


def test_a_feed_that_does_not_exist(healthy: None) -> None:
    code, found = examined("--feed", "id-nowhere")
    assert_found(code, found, name="feed", outcome="fail", expected=2, message=FEED, remedy="blocklist feeds")


def test_a_sync_that_failed_and_one_that_is_long_ago(healthy: None) -> None:
    assert run("sync", "--url", "http://127.0.0.1:9").code == 3
    assert_found(
        *examined(), name="list", outcome="warn", expected=0, message="the last sync failed", remedy="blocklist sync"
    )
    state = Path("cache", ".state", FEED, "state.json")
    document = json.loads(state.read_text())
    state.write_text(json.dumps({**document, "last_error": None, "last_success": "2026-01-02T03:04:05+00:00"}))
    assert_found(
        *examined(), name="list", outcome="warn", expected=0, message="the last sync was 2026-01-02", remedy="--watch"
    )


def test_a_release_that_was_refused(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=[FEED], passphrase=PASSPHRASE)
    table = tmp_path / "list.csv"
    for count in (2_000, 10):
        table.write_text("number\n" + "".join(f"+62812{i:08d}\n" for i in range(count)))
        publisher.release(FEED, table, guard=PublisherGuard.off())
        given = ("--url", publisher.repository.as_uri(), "--feed", FEED, "--root", publisher.root, "--cache-dir", "c")
        run("sync", *given)
    code, found = examined(*given)
    assert_found(code, found, name="list", outcome="fail", expected=6, message="2 was refused", remedy="--accept 2")


def test_overrides_that_cannot_be_read(healthy: None) -> None:
    assert run("override", "block", "0812-9999-0000", "--reason", "a test").code == 0
    Path("cache", ".state", FEED, "recipient.sqlite").write_bytes(b"no database" * 1000)
    code, found = examined()
    assert_found(code, found, name="overrides", outcome="fail", expected=code, message="recipient", remedy="restore")
    assert code != 0


def enforced(sink: str, *more: str) -> None:
    ran = run("enforce", "--sink", sink, "--name", "hlr", *more)
    assert ran.code == 0, ran


def test_ledgers_and_the_sinks_to_which_they_belong(healthy: None) -> None:
    first, second = (f"file://{Path(name).absolute()}" for name in ("first", "second"))
    code, found = examined("--sink", first, "--name", "hlr")
    assert_found(
        code,
        found,
        name="binding",
        outcome="warn",
        expected=0,
        message="no ledger",
        remedy="blocklist enforce --name hlr",
    )
    enforced(first)
    code, found = examined("--sink", first, "--name", "hlr")
    assert code == 0
    said = {each["name"]: each for each in found}
    assert said["ledgers"]["message"].startswith("hlr: belongs to file://")
    assert said["ledgers"]["message"].endswith(", 1 batch")
    assert said["binding"]["outcome"] == "ok"
    code, found = examined("--sink", second, "--name", "hlr")
    assert_found(code, found, name="binding", outcome="fail", expected=2, message="belongs to", remedy="--adopt")
    next(Path("cache", ".state", FEED, "sinks", "hlr", "records").glob("*.batch.arrow")).write_bytes(b"")
    Path("cache", ".state", FEED, "sinks", "hlr", "ledger.json").write_text("{")
    code, found = examined()
    assert_found(
        code, found, name="ledgers", outcome="fail", expected=4, message="damaged", remedy="restore the ledger"
    )


@pytest.mark.parametrize(
    ("sink", "expected", "message", "remedy"),
    [
        ("http://127.0.0.1:9/blocks", 3, "does not answer", "start the system"),
        ("carrier-pigeon://x", 2, "carrier-pigeon", "correct --sink"),
        ("redis://me:S3cret@127.0.0.1:9/0", 3, "does not answer", "start the system"),
        ("postgresql://me:S3cret@127.0.0.1:9/x", 3, "does not answer", "start the system"),
    ],
)
def test_a_sink_that_does_not_answer(healthy: None, sink: str, expected: int, message: str, remedy: str) -> None:
    env = {"BLOCKLIST_SINK": sink, "BLOCKLIST_WEBHOOK_SECRET": "whsec_" + "QUFB" * 11}
    code, found = examined(env=env)
    assert "S3cret" not in json.dumps(found)
    assert_found(code, found, name="sink", outcome="fail", expected=expected, message=message, remedy=remedy)


def test_a_sink_that_does_not_know_the_account(healthy: None, redis_url: str) -> None:
    env = {"BLOCKLIST_SINK": redis_url.replace("//", "//me:S3cret@")}
    code, found = examined(env=env)
    assert "S3cret" not in json.dumps(found)
    remedy = "correct user and password"
    assert_found(code, found, name="sink", outcome="fail", expected=77, message="does not permit", remedy=remedy)


def test_a_sink_gets_what_enforce_would_give_it(healthy: None, world: World, url: str, tmp_path: Path) -> None:
    """Its password of the settings, and for a folder the group and the mode."""
    write(world, url, sink_password_file="password")
    code, found = examined("--offline", "--sink", "redis://127.0.0.1:9/0")
    assert_found(code, found, name="sink", outcome="fail", expected=2, message="password", remedy="its password")
    write(world, url, file_mode="0777")
    code, found = examined("--offline", "--sink", (tmp_path / "drop").as_uri())
    assert_found(code, found, name="sink", outcome="fail", expected=2, message="file_mode", remedy="file_mode")


def test_a_package_with_known_faults(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_checks, "floors", lambda: {"tuf": "99.0", "numpy": "1.0", "nothing-like-it": "1.0"})
    code, found = examined()
    assert_found(
        code,
        found,
        name="versions",
        outcome="fail",
        expected=2,
        message="older than 99.0",
        remedy="pip install 'tuf>=99.0'",
    )


def test_the_lowest_versions_are_those_of_the_package() -> None:
    assert version_checks.floors().get("tuf") == "7.0.1"
    assert version_checks.floors().get("starlette") == "1.3.1", "those of extras as well"


def test_offline_leaves_the_network_alone(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    code, found = examined("--offline", "--sink", "redis://127.0.0.1/0")
    assert code == 0
    assert {each["name"] for each in found if "--offline" in each["message"]} == {
        *("name", "connection", "clock", "repository", "sink"),
    }


def test_a_check_that_breaks_stops_no_other(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(self: Blocklist) -> None:
        raise LookupError("+6281234567890")

    monkeypatch.setattr(Blocklist, "status", breaks)
    code, found = examined()
    assert code == 70
    assert "6281234567890" not in json.dumps(found)
    assert found[-1]["name"] == "sink"
    assert any(each["error"] == "BlocklistError" and "LookupError" in each["message"] for each in found)


def test_the_worst_fault_decides() -> None:
    from blocklist_sdk.cli.exit_codes import worst_code
    from blocklist_sdk.errors import InvalidInput, Unreachable, Untrusted

    away = Unreachable("away", url="https://lists.example")
    assert worst_code([away, InvalidInput("x"), Untrusted("y")]) == 4
    assert worst_code([away, InvalidInput("x")]) == 2
    assert worst_code([away]) == 3


def test_every_check_has_a_test_here() -> None:
    """A check's name must stand in this file as that of a finding that was made to fail or to warn."""
    text = Path(__file__).read_text(encoding="utf-8")
    names = {"settings_found": "settings", "own_protected": "protected", "freshness": "list", "sinks": "sink"}
    wanted = {names.get(check.__name__, check.__name__) for check in CHECKS}
    assert {name for name in wanted if f'name="{name}"' not in text} - {"proxy"} == set()
    assert '"proxy", "proxy"' in text
