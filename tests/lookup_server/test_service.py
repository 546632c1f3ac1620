"""The service as a whole: who may ask, how it starts and ends, what it says when a worker dies, what it syncs."""

import contextlib
import os
import re
import resource
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme

from blocklist_sdk import InvalidInput, Publisher
from blocklist_sdk.lookup_server.acceptor import HANDSHAKES_MAX
from blocklist_sdk.lookup_server.listeners import listening
from blocklist_sdk.lookup_server.serving import CONNECTIONS_MAX, connections_max
from blocklist_sdk.lookup_server.settings import ServeSettings
from blocklist_sdk.lookup_server.worker import DoorTls
from blocklist_sdk.net.tls import tls_context
from blocklist_sdk.publisher import Lifetimes, Timing
from blocklist_sdk.testing import fake_clock
from support.lookup_servers import COMMAND, Service, over_unix, read_all, serving
from support.mixed_list import ADDED_LATER, BLOCKED, FREE, MixedList
from support.waiting import until
from support.world import PASSPHRASE

TOKEN = "generated-for-a-test"
GET = f"GET /v1/verdicts/{BLOCKED} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> MixedList:
    published = MixedList(tmp_path_factory.mktemp("published"))
    published.recipient().sync()
    return published


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def asks(client: httpx.Client) -> bool:
    response = client.get(f"/v1/verdicts/{BLOCKED}")
    assert response.status_code == 200, response.text
    return bool(response.json()["blocked"])


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


def test_a_token_is_needed_but_for_health_and_over_the_unix_socket(
    published: MixedList, log: Path, token_file: Path
) -> None:
    path = log.with_name("s")
    with serving(
        published.settings(),
        log,
        "--host",
        "0.0.0.0",
        "--token-file",
        str(token_file),
        "--uds",
        str(path),
    ) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 200
        for shown in (
            None,
            "Bearer",
            "Bearer x",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer é",
        ):
            headers = {} if shown is None else {b"Authorization": shown.encode("latin-1")}
            for address in (f"/v1/verdicts/{BLOCKED}", "/metrics", "/openapi.json", "/nowhere"):
                response = httpx.get(url + address, headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
                assert "Authorization: Bearer TOKEN" in response.json()["detail"]
            assert httpx.post(f"{url}/v1/verdicts", json={"numbers": []}, headers=headers).status_code == 401
        with httpx.Client(base_url=url, headers={"Authorization": f"bearer {TOKEN}"}) as client:
            assert asks(client)
        with over_unix(path) as client:
            assert asks(client)
        assert service.stop() == 0
    assert TOKEN not in log.read_text()


def test_a_web_page_cannot_ask_through_a_name_that_leads_here(published: MixedList, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "blocklist.sock"
    with serving(published.settings(), log, "--uds", str(path)) as service:
        with httpx.Client(base_url=service.url) as client:
            port = service.url.rpartition(":")[2]
            for host in (
                "localhost",
                f"LOCALHOST:{port}",
                f"127.0.0.1:{port}",
                "127.0.0.2",
                "[::1]",
                f"[::1]:{port}",
                "",
            ):
                assert client.get(f"/v1/verdicts/{BLOCKED}", headers={"Host": host}).status_code == 200, host
            for host in (
                "evil.example",
                f"evil.example:{port}",
                "localhost.evil.example",
                "192.0.2.7",
                "127.0.0.1.x",
                "::",
            ):
                for address in (f"/v1/verdicts/{BLOCKED}", "/metrics", "/openapi.json"):
                    answer = client.get(address, headers={"Host": host})
                    assert (answer.status_code, answer.json()["type"]) == (421, "urn:blocklist:problem:misdirected"), (
                        host
                    )
                assert client.get("/healthz", headers={"Host": host}).status_code == 200
        with over_unix(path) as client:  # which no browser reaches
            assert client.get(f"/v1/verdicts/{BLOCKED}", headers={"Host": "evil.example"}).status_code == 200
        assert service.stop() == 0


def test_a_certificate_in_place_of_a_token(published: MixedList, log: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ca = log.with_name("ca.pem")
    authority.cert_pem.write_to_path(ca)
    files = {}
    for name, issuer in (("127.0.0.1", authority), ("client", authority), ("x.example", stranger)):
        made = issuer.issue_cert(name, common_name=name)
        files[name] = log.with_name(f"{name}.pem")
        files[name].write_bytes(b"".join(part.bytes() for part in (made.private_key_pem, *made.cert_chain_pems)))
    server = str(files["127.0.0.1"])
    mutual = ("--host", "0.0.0.0", "--tls-cert", server, "--tls-key", server, "--client-ca", str(ca))
    with serving(published.settings(), log, *mutual) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        with httpx.Client(base_url=url, verify=tls_context(ca=ca, client_cert=files["client"])) as client:
            assert asks(client)
        context = tls_context(ca=ca, client_cert=files["x.example"])
        with httpx.Client(base_url=url, verify=context) as client, pytest.raises(httpx.TransportError):
            client.get("/healthz")
        with httpx.Client(base_url=url, verify=tls_context(ca=ca)) as client:
            # Whoever watches the service has no certificate.
            assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
            for path in (f"/v1/verdicts/+{BLOCKED}", "/metrics", "/openapi.json", "/no-such-path"):
                answer = client.get(path)
                assert answer.status_code == 403
                assert answer.json()["type"] == "urn:blocklist:problem:certificate-required"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as plain:
            plain.sendall(GET)
            assert b"200" not in read_all(plain)
        assert service.stop() == 0
    assert log.read_text() == "blocklist: serving until Ctrl-C\n"


def test_a_unix_socket_is_for_owner_and_group_and_goes_with_the_service(published: MixedList, log: Path) -> None:
    path = log.with_name("lookups.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # as a killed service leaves it
    with serving(published.settings(), log, "--uds", str(path), port=None) as service:
        assert service.addresses == [str(path)]
        assert stat.filemode(path.stat().st_mode) == "srw-rw----"
        with over_unix(path) as client:
            assert asks(client)
        assert service.stop(signal.SIGINT) == 0
    assert not path.exists()


def test_before_the_first_sync_questions_say_what_to_do(published: MixedList, log: Path) -> None:
    with serving(published.settings("empty"), log) as service, httpx.Client(base_url=service.url) as client:
        assert client.get("/healthz").status_code == 200
        arrow = {"Content-Type": "application/vnd.apache.arrow.stream"}
        for response in (
            client.get("/readyz"),
            client.get(f"/v1/verdicts/{FREE}"),
            client.post("/v1/verdicts", json={"numbers": []}),
            client.post("/v1/verdicts", json={"numbers": [FREE]}),
        ):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "5"
            assert response.json()["type"] == "urn:blocklist:problem:not-synced"
            assert "run blocklist sync" in response.json()["detail"]
        assert client.post("/v1/verdicts", content=b"", headers=arrow).status_code == 400
        assert "blocklist_up{" in client.get("/metrics").text
        # Whoever syncs, the service answers within a second.
        published.recipient("empty").sync()
        until(lambda: client.get("/readyz").status_code == 200)
        assert asks(client)


def test_a_watched_list_is_synced_by_the_parent(tmp_path: Path, log: Path) -> None:
    published = MixedList(tmp_path)
    with serving(published.settings(), log, "--watch", "--every", "1s", "--workers", "2") as service:
        with httpx.Client(base_url=service.url) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            assert asks(client)
            assert client.get(f"/v1/verdicts/{ADDED_LATER}").json()["blocked"] is False
            published.release_later()
            until(lambda: client.get(f"/v1/verdicts/{ADDED_LATER}").json()["blocked"] is True)
            assert client.get(f"/v1/verdicts/{BLOCKED}").json()["blocked"] is False
            synced = re.compile(r'blocklist_syncs_total\{.*"(delta|snapshot)"\} [1-9]')
            until(lambda: synced.search(client.get("/metrics").text) is not None)
            until(lambda: "release 1 → 2" in log.read_text())
            index = next((tmp_path / "publisher" / "repository" / "metadata").glob("timestamp.json"))
            index.write_text("{}")
            until(lambda: client.get("/readyz").json()["last_sync_error"] == "Malformed")
            until(lambda: "blocklist_last_sync_success" in client.get("/metrics").text)
            until(lambda: re.search(r"blocklist_last_sync_success\S+ 0", client.get("/metrics").text) is not None)
            until(lambda: "sync of feed" in log.read_text())
            assert client.get(f"/v1/verdicts/{ADDED_LATER}").json()["blocked"] is True
        assert service.stop() == 0


def test_a_stale_list_is_not_ready_where_that_is_asked(tmp_path: Path, log: Path) -> None:
    published = MixedList(tmp_path)
    before = datetime.now(UTC)
    timing = Timing(lifetimes=Lifetimes(timestamp=timedelta(seconds=1)))
    Publisher.open(tmp_path / "publisher", passphrase=PASSPHRASE, timing=timing).refresh()
    with fake_clock() as clock:
        clock.set(before)  # a slow machine would sync too late
        published.recipient().sync()
    with (
        serving(published.settings(), log, "--require-fresh") as strict,
        serving(published.settings(), log.with_name("lenient")) as lenient,
    ):
        until(lambda: httpx.get(f"{strict.url}/readyz").status_code == 503)
        for address in ("/readyz", f"/v1/verdicts/{BLOCKED}"):
            problem = httpx.get(strict.url + address).json()
            assert problem["type"] == "urn:blocklist:problem:stale"
            assert "past its signed expiry" in problem["detail"]
        ready = httpx.get(f"{lenient.url}/readyz")
        assert (ready.status_code, ready.json()["stale"]) == (200, True)
        assert httpx.get(f"{lenient.url}/v1/verdicts/{BLOCKED}").json()["stale"] is True


def test_a_bundle_is_served_and_not_synced(published: MixedList, log: Path) -> None:
    bundle = log.with_name("list.bundle")
    published.recipient().bundle(bundle)
    settings = {name: published.settings()[name] for name in ("BLOCKLIST_ROOT", "BLOCKLIST_REGION")}
    with serving(settings, log, "--bundle", str(bundle)) as service, httpx.Client(base_url=service.url) as client:
        assert client.get("/readyz").json()["serial"] == 1
        assert asks(client)
        assert client.post("/v1/verdicts", json={"numbers": [FREE]}).json()["verdicts"][0]["blocked"] is False
        assert service.stop() == 0
    watching = serving(settings, log, "--bundle", str(bundle), "--watch")
    with pytest.raises(RuntimeError, match="a bundle cannot be synced"), watching:
        pass


@pytest.fixture
def two(published: MixedList, log: Path) -> Iterator[Service]:
    with serving(published.settings(), log, "--workers", "2") as service:
        yield service


def sockets_of(process: int) -> int:
    folder = Path(f"/proc/{process}/fd")
    return sum(os.readlink(file).startswith("socket:") for file in folder.iterdir())


def test_connections_that_come_at_once_are_shared(two: Service) -> None:
    before = [sockets_of(worker) for worker in two.workers]
    held = [two.connect() for _ in range(20)]
    for connection in held:
        connection.sendall(GET)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    more = [sockets_of(worker) - count for worker, count in zip(two.workers, before, strict=True)]
    assert sum(more) == 20
    assert min(more) >= 5
    for connection in held:
        connection.close()


def test_the_death_of_a_worker_ends_the_service_and_is_said(two: Service) -> None:
    first, second = two.workers
    os.kill(second, signal.SIGKILL)
    assert two.process.wait(30) == 70
    assert f"worker 2 of 2 (process {second}) has ended by itself, by SIGKILL" in two.log.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_workers_end_with_a_killed_parent(two: Service) -> None:
    workers = two.workers
    two.process.kill()

    def are_gone() -> bool:
        return all(not Path(f"/proc/{worker}").exists() or _is_zombie(worker) for worker in workers)

    until(are_gone)
    with pytest.raises(OSError, match="refused"):
        two.connect()


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_request_under_way_is_answered_before_the_end(two: Service) -> None:
    with two.connect() as busy, two.connect() as idle:
        busy.sendall(GET + GET[:20])  # the answer to the first shows that its worker has a part of the second
        assert busy.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        idle.sendall(GET)
        assert idle.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        two.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        busy.sendall(GET[20:])
        assert busy.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert busy.recv(1) == b""  # its worker may get the signal after that of the other
    assert two.process.wait(30) == 0


def test_no_number_is_in_any_log(published: MixedList, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {**published.settings(), "BLOCKLIST_DEBUG": "1"}
    with serving(env, log) as service, httpx.Client(base_url=service.url) as client:
        client.get(f"/v1/verdicts/{BLOCKED}")
        client.get(f"/v1/verdicts/{BLOCKED}00000000000")
        client.get(f"/nowhere/{BLOCKED}")
        client.post("/v1/verdicts", json={"numbers": [BLOCKED, f"{BLOCKED}x"]})
        service.say(f"GET /v1/verdicts/{BLOCKED} HTTP/9.9\r\n\r\n".encode())
        assert service.stop() == 0
    assert not re.search(r"\d{6}", log.read_text())


@pytest.mark.parametrize(
    "asked",
    [ServeSettings(host="localhost", port=0), ServeSettings(redis_host="localhost", redis_port=0, port=None)],
)
def test_a_name_is_judged_by_its_addresses(monkeypatch: pytest.MonkeyPatch, asked: ServeSettings) -> None:
    """What localhost is, /etc/hosts says."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    asked.check()
    with (
        pytest.raises(InvalidInput, match=r"localhost is 0\.0\.0\.0 here, which can be reached .*give --token-file"),
        listening(asked),
    ):
        pass
    with listening(replace(asked, token=TOKEN)) as listeners:
        assert len(listeners) == 2


def test_an_address_in_use_is_a_plain_error(two: Service, published: MixedList) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    ran = subprocess.run(
        [*COMMAND, "--port", two.url.rpartition(":")[2]],
        env={**inherited, **published.settings()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "it is in use" in ran.stderr


def test_connections_leave_files_to_open_the_next_release(
    published: MixedList, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come at both doors; and those that never end a handshake give way."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    server, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    server.write_bytes(b"".join(part.bytes() for part in (made.private_key_pem, *made.cert_chain_pems)))
    authority.cert_pem.write_to_path(ca)
    monkeypatch.setattr("support.lookup_servers.COMMAND", ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh", *COMMAND])
    flags = ("--redis-port", "0", "--tls-cert", str(server), "--tls-key", str(server))
    with serving(published.settings(), log, *flags) as service, contextlib.ExitStack() as stack:
        ports = [int(address.rpartition(":")[2]) for address in service.addresses]
        for port in ports:
            for _ in range(HANDSHAKES_MAX + 100):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            last = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.enter_context(tls_context(ca=ca).wrap_socket(last, server_hostname="127.0.0.1"))
        files = Path(f"/proc/{service.workers[0]}/fd")
        with httpx.Client(base_url=service.url, verify=tls_context(ca=ca)) as client:
            assert asks(client)
        assert 2 * HANDSHAKES_MAX < len(list(files.iterdir())) < 512 - 64
        assert service.stop() == 0
    assert "no more connections" not in log.read_text()


def test_connections_are_shared_out_between_the_doors() -> None:
    asked = ServeSettings(port=0, redis_port=0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        with listening(asked) as both:
            assert connections_max(both[:1], has_tls=False) == CONNECTIONS_MAX
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            share = connections_max(both, has_tls=True)
            assert 2 * share + 2 * HANDSHAKES_MAX + 128 <= max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_bundle_that_is_written_over_answers_nothing(published: MixedList, tmp_path: Path, log: Path) -> None:
    made = tmp_path / "list.bundle"
    with published.recipient() as recipient:
        recipient.bundle(made)
    settings = {"BLOCKLIST_ROOT": published.settings()["BLOCKLIST_ROOT"], "BLOCKLIST_BUNDLE": str(made)}
    with serving(settings, log) as service, httpx.Client(base_url=service.url) as client:
        assert asks(client)
        before = made.read_bytes()
        made.write_bytes(before[:-2048] + b"x" * 2048)
        until(lambda: client.get("/readyz").status_code == 503)
        assert str(tmp_path) not in client.get("/readyz").text
        refused = client.get(f"/v1/verdicts/{BLOCKED}")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:blocklist:problem:unavailable")
        assert client.get("/healthz").status_code == 200
        made.write_bytes(before)
        until(lambda: client.get("/readyz").status_code == 200)
        assert asks(client)
        assert service.stop() == 0
    assert log.read_text().count("was altered since it was opened") == 1


def test_only_doors_with_tls_leave_files_for_handshakes() -> None:
    assert not DoorTls.of(None)
