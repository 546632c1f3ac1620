"""The authority's commands, and the sandbox."""

import contextlib
import json
import queue
import signal
import sqlite3
import stat
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import httpx
import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt
from blocklist_sdk.sandbox import screenshot
from support.command_line import assert_fails, run
from support.quick_processes import QuickCommand
from support.waiting import until

ENV = {"BLOCKLIST_PASSPHRASE": "generated for a test", "BLOCKLIST_OFFLINE_PASSPHRASE": "of root and targets"}


def made(folder: Path) -> Path:
    ran = run("exchange", "init", folder, "--json", env=ENV)
    assert ran.code == 0, ran.err
    assert "id-telkomsel" in ran.document["feeds"]
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "exchange")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exchange that is served; each test adds accounts of its own."""
    return made(tmp_path_factory.mktemp("shared") / "exchange")


@contextlib.contextmanager
def running(
    *arguments: str | Path, end: int = signal.SIGINT, env: dict[str, str] = ENV
) -> Iterator[tuple[str, Callable[[], str]]]:
    """The first line that a command writes, and what waits for the next that it says; a signal ends it, with 0."""
    process = QuickCommand(*arguments, env=env)
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    everything: list[str] = []

    def listen(lines: IO[str]) -> None:
        for line in lines:
            everything.append(line)
            said.put(line)

    listener = threading.Thread(target=listen, args=(process.stderr,))
    listener.start()
    with process.stdout, process.stderr:
        try:
            yield process.stdout.readline().strip(), lambda: said.get(timeout=30)
            process.send_signal(end)
            assert process.wait(timeout=30) == 0, everything
        finally:
            process.kill()
            listener.join()


@pytest.fixture(scope="module")
def served(shared: Path) -> Iterator[str]:
    with running("exchange", "serve", shared, "--port", "0") as (url, _):
        yield url


def test_a_secret_is_shown_once_and_holds(shared: Path, served: str) -> None:
    secret = run("exchange", "user", "add", shared, "anna", "--scope", "officer").out.strip()
    with ExchangeClient(served, auth=ClientCredentials.for_exchange(served, "anna", secret)) as client:
        assert client.get_account().scopes == ("officer",)
    assert secret not in run("exchange", "user", "list", shared, "--json").out
    another = run("exchange", "user", "secret", shared, "anna", "--json").document["secret"]
    for given, status in ((secret, 401), (another, 200)):
        asked = httpx.post(f"{served}/oauth/token", data={"grant_type": "client_credentials"}, auth=("anna", given))
        assert asked.status_code == status
    assert run("exchange", "user", "disable", shared, "anna").code == 0
    closed = httpx.post(f"{served}/oauth/token", data={"grant_type": "client_credentials"}, auth=("anna", another))
    assert closed.json()["error"] == "invalid_client"
    accounts = run("exchange", "user", "list", shared, "--json").document["accounts"]
    (account,) = (each for each in accounts if each["name"] == "anna")
    assert account["disabled_at"]


def test_an_account_with_its_own_key(shared: Path, served: str, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = tmp_path / "public.pem"
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert run("exchange", "user", "add", shared, "chat", "--scope", "report", "--key", public).out == ""
    with ExchangeClient(served, auth=PrivateKeyJwt.for_exchange(served, "chat", pem)) as client:
        assert client.get_account().name == "chat"


def test_what_it_serves_and_what_goes_wrong_is_told_as_it_happens(folder: Path) -> None:
    options = ("--port", "0", "--no-publish", "--log-requests")
    with running("exchange", "serve", folder, *options, end=signal.SIGTERM) as (url, said):
        assert "until Ctrl-C" in said()
        answer = httpx.get(f"{url}/v1/numbers/+6281234567890")
        assert f"request {answer.headers['X-Request-Id']}: GET /v1/numbers/{{number}}: 200 after " in said()
        with contextlib.closing(sqlite3.connect(folder / "exchange.sqlite")) as database:
            database.execute("ALTER TABLE listings RENAME TO elsewhere")
        answer = httpx.get(f"{url}/v1/numbers/+6281234567890")
        assert answer.status_code == 503
        assert "unavailable: " in said()
        assert "GET /v1/numbers/{number}: 503 after " in said()


def test_releases_are_logged_and_the_journal_gets_the_level_of_each_line(folder: Path) -> None:
    env = ENV | {"JOURNAL_STREAM": "1:1"}
    (folder / "publisher" / "keys" / "offline").rename(folder.with_name("safe"))  # of which there is a warning
    with running("exchange", "serve", folder, "--port", "0", env=env) as (url, said):
        while "published id-telkomsel" not in (line := said()):
            assert line.startswith(("<6>blocklist: published ", "blocklist: serving "))
        assert line == "<6>blocklist: published id-telkomsel 1: 0 rows, +0 -0 ~0\n"
        assert httpx.post(f"{url}/oauth/token", data={"grant_type": "client_credentials"}).status_code == 401
        while "published" in (line := said()):
            pass
        assert line.startswith("<4>blocklist: log-in refused: a request with no account name at 127.0.0.1: ")


def test_a_key_without_an_address_to_sign_for_is_warned_of(folder: Path, tmp_path: Path) -> None:
    from joserfc.jwk import OKPKey

    public = tmp_path / "public.pem"
    public.write_bytes(OKPKey.generate_key("Ed25519").as_pem(private=False))
    added = run("exchange", "user", "add", folder, "chat", "--scope", "report", "--key", public, "--json")
    assert (added.code, added.document) == (0, {"name": "chat", "secret": None, "settings": None})
    assert "chat can get tokens on this machine only: set url in exchange.toml" in added.err
    assert "url" not in run("exchange", "user", "add", folder, "web", "--scope", "report").err
    with (folder / "exchange.toml").open("a") as settings:
        settings.write('url = "https://exchange.example"\n')
    added = run("exchange", "user", "add", folder, "bank", "--scope", "report", "--key", public)
    assert (added.code, added.err) == (0, "blocklist: added bank, which authenticates with its key\n")


def test_an_account_comes_with_a_file_that_is_ready_to_use(folder: Path, tmp_path: Path) -> None:
    """With it alone its holder sees the feeds, syncs and asks; then other scopes, a closing and a reopening follow."""
    assert run("exchange", "publish", folder, env=ENV).code == 0
    file = tmp_path / "telkomsel" / "blocklist.toml"
    add = ("exchange", "user", "add", folder, "telkomsel", "--scope", "receipt", "--scope", "feed:id-telkomsel")
    assert_fails(run(*add, "--settings", file), 2, "set url in", "Nothing was changed")
    with running("exchange", "serve", folder, "--port", "0", "--no-publish") as (url, _):
        with (folder / "exchange.toml").open("a") as settings:
            settings.write(f'url = "{url}"\n')
        added = run(*add, "--settings", file, "--json")
        assert added.document == {"name": "telkomsel", "secret": None, "settings": str(file)}
        document = tomllib.loads(file.read_text())
        assert document["client_secret"] not in added.out + added.err
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert (file.parent / "root.json").read_bytes() == (folder / "publisher" / "root.json").read_bytes()
        cache = ("--config", file, "--cache-dir", tmp_path / "cache")
        found = {each["name"]: each for each in run("feeds", *cache, "--json").document["feeds"]}
        assert found["id-telkomsel"]["serial"] == 1
        assert found["id-indosat"]["is_permitted"] is False
        assert "not permitted" in run("feeds", *cache).out
        assert run("sync", *cache).code == 0
        assert run("check", "0812-9999-0000", *cache).code == 0

        # A feed of somebody else's is found before anything is written.
        account = {"BLOCKLIST_CLIENT_SECRET": document["client_secret"], "BLOCKLIST_CLIENT_ID": "telkomsel"}
        account["BLOCKLIST_ROOT"] = str(file.parent / "root.json")
        output = tmp_path / "second.toml"
        other = ("init", document["url"], "--exchange", url, "-o", output)
        assert_fails(run(*other, "--feed", "id-indosat", env=account), 77, "the scope feed:id-indosat")
        assert not output.exists()
        assert run(*other, "--feed", "id-telkomsel", env=account).code == 0

        # No second file in the same place, and nothing is changed then.
        again = run("exchange", "user", "secret", folder, "telkomsel", "--settings", file)
        assert_fails(again, 2, "is there already", "Nothing was changed")
        assert run("feeds", *cache).code == 0
        scopes = run("exchange", "user", "scopes", folder, "telkomsel", "--scope", "feed:id-indosat")
        assert (scopes.code, scopes.out) == (0, "")
        time.sleep(1.1)
        found = {each["name"]: each for each in run("feeds", *cache, "--json").document["feeds"]}
        assert {name: each["is_permitted"] for name, each in found.items() if each["is_permitted"]} == {
            "id-indosat": True
        }

        assert run("exchange", "user", "disable", folder, "telkomsel").code == 0
        closed = run("exchange", "user", "secret", folder, "telkomsel")
        assert_fails(closed, 2, "'telkomsel' is closed", "reopen")
        time.sleep(1.1)
        assert run("feeds", *cache).code == 77
        assert_fails(run(*add), 2, "exists already")
        new = tmp_path / "new" / "blocklist.toml"
        reopened = run("exchange", "user", "reopen", folder, "telkomsel", "--settings", new)
        assert (reopened.code, reopened.out) == (0, "")
        assert f"wrote {new} and {new.parent / 'root.json'}: give both to" in reopened.err
        assert run("feeds", *cache).code == 77, "the old secret may be known to others"
        assert run("feeds", "--config", new).code == 0
        assert tomllib.loads(new.read_text())["feed"] == "id-indosat"
        assert_fails(run("exchange", "user", "reopen", folder, "telkomsel"), 2, "open already")


def test_an_account_with_a_key_keeps_it(folder: Path, tmp_path: Path) -> None:
    from joserfc.jwk import OKPKey

    with (folder / "exchange.toml").open("a") as settings:
        settings.write('url = "https://exchange.example"\n')
    public = tmp_path / "public.pem"
    public.write_bytes(OKPKey.generate_key("Ed25519").as_pem(private=False))
    file = tmp_path / "chat" / "blocklist.toml"
    added = run("exchange", "user", "add", folder, "chat", "--scope", "report", "--key", public, "--settings", file)
    assert added.code == 0
    assert "client-key.pem" in added.err
    assert f"wrote {file}: give it to" in added.err
    document = tomllib.loads(file.read_text())
    assert document == {
        "exchange": "https://exchange.example",
        "client_id": "chat",
        "client_key": "client-key.pem",
        "region": "ID",
    }
    assert not (file.parent / "root.json").exists(), "it reads no feed"
    assert run("exchange", "user", "disable", folder, "chat").code == 0
    assert run("exchange", "user", "reopen", folder, "chat", "--json").document["secret"] is None
    accounts = run("exchange", "user", "list", folder, "--json").document["accounts"]
    (account,) = (each for each in accounts if each["name"] == "chat")
    assert (account["authenticates"], account["disabled_at"]) == ("key", None)


def test_publishing_for_the_first_time_gives_every_feed_a_release(folder: Path) -> None:
    assert run("exchange", "publish", folder, env=ENV).code == 0
    root, repository = folder / "publisher" / "root.json", folder / "publisher" / "repository"
    for feed in ("id-telkomsel", "id-messaging"):
        synced = run(
            "sync", "--url", repository.as_uri(), "--root", root, "--feed", feed, "--cache-dir", folder / "c", "--json"
        )
        assert (synced.code, synced.document["after"]) == (0, 1)
    again = run("exchange", "publish", folder, env=ENV)
    assert (again.code, again.out) == (0, "")
    assert "nothing to publish" in again.err


def test_a_month_in_figures(folder: Path) -> None:
    assert json.loads(run("exchange", "stats", folder, "--month", "2026-10", "--json").out)["reports"] == 0
    shown = run("exchange", "stats", folder).out.split()
    assert shown[1:3] == ["reports", "0"]
    assert_fails(run("exchange", "stats", folder, "--month", "October"), 2, "2026-10")


def test_verify_finds_what_was_changed(shared: Path, served: str) -> None:
    secret = run("exchange", "user", "add", shared, "web", "--scope", "report").out.strip()
    with ExchangeClient(served, auth=ClientCredentials.for_exchange(served, "web", secret)) as client:
        for number in ("0812-3456-7890", "0812-3456-7891"):
            report = client.submit_report(
                number, category="fraud", channel="sms", text="x", happened_at=datetime.now(UTC), reporter="r1"
            )
            file = client.attach_evidence(report.id, screenshot(report.id), name="a.png")
    assert run("exchange", "verify", shared, "--json").document.items() >= {"problems": [], "erased": []}.items()
    (shared / "evidence" / file.sha256[:2] / file.sha256[2:]).write_bytes(b"another")
    with contextlib.closing(sqlite3.connect(shared / "exchange.sqlite")) as database:
        database.execute("DROP TRIGGER history_no_update")
        database.execute("UPDATE history SET actor = 'another' WHERE case_id = 1 AND sequence = 2")
        database.commit()
    found = run("exchange", "verify", shared, "--json")
    assert (found.code, found.document["problems"]) == (
        1,
        [
            "the history of case 1 was changed at line 2",
            f"the evidence file {file.sha256} is missing or damaged",
        ],
    )


def test_an_exchange_begins_with_two_officers(folder: Path, tmp_path: Path) -> None:
    for name in ("officer-1", "officer-2"):
        file = folder / "officers" / name / "blocklist.toml"
        assert f'client_id = "{name}"' in file.read_text()
        assert "client_secret" in file.read_text()
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    accounts = run("exchange", "user", "list", folder, "--json").document["accounts"]
    assert {each["name"]: each["scopes"] for each in accounts} == {"officer-1": ["officer"], "officer-2": ["officer"]}
    assert "two_person = true" in (folder / "exchange.toml").read_text()
    new = tmp_path / "new"
    assert_fails(run("exchange", "init", new, "--officer", "anna", env=ENV), 2, "--one-person")
    assert_fails(run("exchange", "init", new, "--officer", "Anna B", "--officer", "x", env=ENV), 2, "account name")
    assert not new.exists()
    alone = run("exchange", "init", new, "--one-person", "--url", "https://exchange.example", "--json", env=ENV)
    assert [each["name"] for each in alone.document["officers"]] == ["officer-1"]
    assert 'exchange = "https://exchange.example"' in Path(alone.document["officers"][0]["settings"]).read_text()
    assert "two_person = false" in (new / "exchange.toml").read_text()


def test_an_unknown_operator_is_warned_of(tmp_path: Path) -> None:
    rules = tmp_path / "routing.toml"
    rules.write_text('region = "ID"\n[[feed]]\nname = "id-telkomsel"\noperators = ["telkomsell"]\nscopes = ["sms"]\n')
    made = run("exchange", "init", tmp_path / "exchange", "--routing", rules, env=ENV)
    assert made.code == 0
    assert "telkomsell" in made.err


def test_what_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    assert_fails(run("exchange", "init", folder, env=ENV), 2, "exists already")
    assert_fails(run("exchange", "init", tmp_path / "x", "--region", "ZZ", env=ENV), 2)
    assert_fails(run("exchange", "init", tmp_path / "x", "--database", "mysql://x/y", env=ENV), 2, "postgresql")
    assert_fails(run("exchange", "stats", tmp_path / "x"), 2, "exchange init")
    assert not (tmp_path / "x").exists()
    assert_fails(run("exchange", "user", "add", folder, "Anna B", "--scope", "officer"), 2, "account name")
    assert_fails(run("exchange", "user", "add", folder, "exchange", "--scope", "officer"), 2, "another name")
    assert_fails(run("exchange", "user", "add", folder, "anna", "--scope", "king"), 2, "not a scope")
    assert_fails(run("exchange", "user", "secret", folder, "anna"), 2, "does not exist")
    assert_fails(run("exchange", "serve", folder, "--tls-key", tmp_path / "k"), 2, "--tls-cert")
    locked_out = run("exchange", "publish", folder, env={"BLOCKLIST_PASSPHRASE": "wrong"})
    assert (locked_out.code, locked_out.out) == (2, "")
    assert "wrong passphrase" in locked_out.err


@pytest.fixture(scope="module")
def told() -> list[dict[str, str]]:
    ran = run("sandbox", "--script", "--cases", "3", "--json")
    assert ran.code == 0, ran.err
    scenes: list[dict[str, str]] = ran.document["scenes"]
    return scenes


def test_the_sandbox_tells_one_complaint_to_its_end(told: list[dict[str, str]]) -> None:
    story = "\n".join(f"{scene['who']} {scene['what']}" for scene in told)
    for part in ("lacks evidence", "publishes", "is enforced", "passes on appeal", "reversed", "learns who has lifted"):
        assert part in story
    assert any(scene["who"] == "indosat" and "not blocked (not-listed)" in scene["what"] for scene in told)


def test_a_sandbox_that_is_not_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    with running("sandbox", "--cases", "1", env=env, end=signal.SIGTERM) as (url, _):
        assert url.startswith("http://127.0.0.1:")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timing
def test_a_story_that_is_cut_short_is_not_told_to_its_end(tmp_path: Path) -> None:
    process = QuickCommand("sandbox", "--script", "--cases", "300", env={"TMPDIR": str(tmp_path)})
    try:
        # Something in its folder: while Python makes the folder, nothing removes it on a signal yet.
        until(lambda: any(tmp_path.glob("*/*")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_is_kept_is_ready_to_use(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with running("sandbox", "--dir", box, "--cases", "3") as (url, _):
        assert url.startswith("http://127.0.0.1:")
        synced = run("sync", "--config", box / "blocklist.toml", "--json")
        assert (synced.code, synced.document["after"]) == (0, 1), synced.err
        assert run("case", "list", "--config", box / "officer" / "blocklist.toml", "--json").code == 0
        assert run("case", "list", "--config", box / "chat" / "blocklist.toml").code == 77
        assert_fails(run("sandbox", "--dir", box), 75, "a sandbox runs in")


def test_a_sandbox_goes_on_in_its_folder(tmp_path: Path) -> None:
    box = tmp_path / "box"
    officer = box / "officer" / "blocklist.toml"
    with running("sandbox", "--dir", box, "--cases", "3", "--json") as (line, _):
        first = json.loads(line)
        settings = officer.read_text()
        waiting = run("case", "list", "--config", officer, "--json").documents
    with running("sandbox", "--dir", box, "--json") as (line, _):
        again = json.loads(line)
        assert (first["resumed"], again["resumed"]) == (False, True)
        assert {**first, "resumed": True} == again, "the address and the accounts are those of before"
        assert officer.read_text() == settings, "and so are the secrets"
        assert run("case", "list", "--config", officer, "--json").documents == waiting


def test_a_sandbox_takes_no_folder_with_anything_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    assert_fails(run("sandbox", "--dir", tmp_path), 2, "is not empty", "give a new folder")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    box = tmp_path / "box"
    box.mkdir()
    (box / "sandbox.json").write_text("{}")
    assert_fails(run("sandbox", "--dir", box), 4, "sandbox.json is damaged")
