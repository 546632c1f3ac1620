"""`blocklist enforce`, into a drop directory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.cli.enforce import _backoff_s, _set_aside_text
from blocklist_sdk.enforcement import EnforcementResult, new_webhook_secret
from blocklist_sdk.enforcement.sinks.drop_files import drop_response_name, read_drop_file
from support.command_line import Ran, assert_fails, run
from support.exchanges import Asked, exchanging, routes
from support.receiving import SECRET, receiving
from support.world import FEED, World, make_world

NUMBERS = [f"+62812000010{i:02d}" for i in range(6)]
"""Generated."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def env(world: World) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "state"),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_SINK": (world.directory / "drop").as_uri(),
    }


@pytest.fixture
def enforce(env: dict[str, str]) -> Callable[..., Ran]:
    return lambda *arguments: run("enforce", *arguments, env=env)


def synced(world: World, env: dict[str, str], numbers: list[str]) -> None:
    world.release(numbers)
    assert run("sync", "--accept", str(world.publisher.status().feeds[1].serial or 1), env=env).code == 0


def operations(world: World) -> list[tuple[str, int]]:
    files = [read_drop_file(path) for path in sorted((world.directory / "drop").glob("*.csv"))]
    return [(each.operation, len(each.changes)) for each in files]


def test_a_list_is_carried_into_a_directory(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    assert_fails(enforce(), 2, "sync")
    synced(world, env, NUMBERS[:5])
    dry = enforce("--dry-run", "--json").document
    assert (dry["planned"]["block"], dry["dry_run"], operations(world)) == (5, True, [])
    done = enforce("--json").document
    assert (done["outcomes"], done["set_aside"], done["receipts"]) == ({"enforced": 5}, 0, None)
    assert "nothing to do" in enforce().out
    synced(world, env, NUMBERS[1:])
    assert "1 enforced, 1 unblocked" in enforce().out
    assert operations(world) == [("block", 5), ("unblock", 1), ("block", 1)]


def test_a_response_that_cannot_be_read_has_an_exit_code(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS[:1])
    responses = world.directory / "responses"
    responses.mkdir()
    sink = f"{env['BLOCKLIST_SINK']}?responses={responses}"
    assert enforce("--sink", sink).code == 0
    (file,) = (world.directory / "drop").glob("*.csv")
    response = responses / drop_response_name(file.name)
    response.write_text("msisdn;result\n")
    os.utime(response, (0, 0))
    synced(world, env, NUMBERS[:2])
    failed = enforce("--sink", sink, "--json")
    assert failed.code == 4
    assert failed.document["outcomes"] == {"in doubt": 2}
    assert [warning["kind"] for warning in failed.document["warnings"]] == ["unreadable response"]
    assert f"{response} is not a response" in failed.err
    assert len(list((world.directory / "drop").glob("*.csv"))) == 2, "the rest goes on"
    response.write_text(f"number,outcome,detail\n{NUMBERS[0]},enforced,\n")
    assert enforce("--sink", sink).code == 0


def refusing(asked: Asked) -> dict[str, Any]:
    """An exchange's answer that refuses every other receipt."""
    count = len(asked.document["receipts"])
    refused = {"status": "refused", "reason": "no such entry"}
    return {"items": [{"index": i, "status": "accepted", **(refused if i % 2 else {})} for i in range(count)]}


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_refused_receipts_are_counted_and_have_an_exit_code(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], flags: tuple[str, ...]
) -> None:
    synced(world, env, NUMBERS[:5])
    account = {"name": "telkomsel", "scopes": ["receipt", f"feed:{FEED}"]}
    with exchanging(routes({"GET /v1/account": account, "POST /v1/receipts": refusing})) as (url, _):
        env["BLOCKLIST_EXCHANGE"] = url
        ran = enforce("--receipts", *flags)
        assert ran.code == 7
        assert "the exchange refused 2 receipts: blocklist receipts pending --sink default shows why" in ran.err
        if flags:
            assert (ran.document["receipts"]["sent"], ran.document["receipts"]["refused"]) == (3, 2)
        else:
            assert "5 enforced, 3 receipts sent, 2 refused by the exchange" in ran.out
        assert enforce("--receipts", *flags).code == 0, "they are not sent again"


def test_several_sinks_of_one_list_are_independent(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS[:2])
    for name in ("one", "two"):
        sink = (world.directory / name).as_uri()
        assert enforce("--name", name, "--sink", sink, "--json").document["outcomes"] == {"enforced": 2}
    assert enforce("--name", "one", "--sink", (world.directory / "one").as_uri(), "--json").document["outcomes"] == {}


def test_a_cap_and_a_scope_limit_a_run(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    synced(world, env, NUMBERS)
    capped = enforce("--daily-cap", "4")
    assert "4 enforced" in capped.out
    assert "2 changes left for another day" in capped.err
    assert enforce("--json", "--scope", "data").document["planned"]["unblock"] == 4


def test_unusable_options_are_refused(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    synced(world, env, NUMBERS)
    assert_fails(
        enforce("--sink", "telnet://switch"),
        2,
        "no sink has the scheme 'telnet'",
        "file",
        "postgresql",
        "redis",
        "https",
        "kafka",
    )
    assert_fails(enforce("--sink", "switch"), 2, "has no scheme")
    assert_fails(enforce("--name", "../x"), 2, "cannot name a sink")
    assert_fails(enforce("--scope", "telex"), 2, "the scopes are")
    assert_fails(enforce("--only-operator", "nobody"), 2, "telkomsel")
    assert_fails(enforce("--repair"), 2, "--reconcile")
    assert_fails(enforce("--watch", "--dry-run"), 2, "--watch")
    assert_fails(enforce("--reconcile"), 2, "cannot be read")
    assert_fails(enforce("--rate", "inf"), 2, "rate must be greater than 0 and finite")
    for every in ("0", "999999999d"):
        assert_fails(enforce("--watch", "--every", every), 2, "the interval must be more than 0 s and at most a year")
    assert_fails(enforce("--sink", "redis://127.0.0.1:1/0", "--name", "away"), 3, "is unavailable")


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--dry-run",), 0),
        (("--dry-run", "--receipts"), 0),
        (("--name", "hlr.shadow"), 2),
        (("--reconcile",), 2),
        (("--reconcile", "--repair"), 2),
        (("--reconcile", "--name", "hlr.shadow"), 2),
    ],
)
def test_a_run_that_only_looks_or_is_refused_leaves_nothing(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], flags: tuple[str, ...], code: int
) -> None:
    synced(world, env, NUMBERS)
    env["BLOCKLIST_EXCHANGE"] = "http://127.0.0.1:9"
    before = sorted(world.directory.rglob("*"))
    assert enforce(*flags).code == code
    assert sorted(world.directory.rglob("*")) == before
    assert_fails(run("statement", "--sink", "default", "--month", "2026-01", env=env), 2, "nothing has been enforced")


def test_a_ledger_into_which_nothing_was_enforced_has_no_statement(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS)
    assert enforce("--daily-cap", "0").code == 0
    assert_fails(run("statement", "--sink", "default", "--month", "2026-01", env=env), 2, "nothing has been enforced")


def test_a_statement_has_a_language_and_says_whose_it_is(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], tmp_path: Path
) -> None:
    synced(world, env, NUMBERS)
    assert enforce().code == 0
    settings = tmp_path / "own.toml"
    settings.write_text('organisation = "PT Contoh"\ncontact = "from-file"\n')
    flags = ("--sink", "default", "--month", f"{datetime.now(UTC):%Y-%m}", "--config", str(settings))
    page = run("statement", *flags, "--language", "id", "--contact", "from-flag", env=env)
    assert page.code == 0, page.err
    for words in ('<html lang="id">', "PT Contoh", "from-flag", "6 dari 6 nomor telah diblokir (100%)"):
        assert words in page.out
    assert "<dd>PT Contoh</dd>" in run("statement", *flags, env=env).out
    figures = json.loads(run("statement", *flags, "--format", "json", "--language", "id", env=env).out)
    assert (figures["organisation"], figures["contact"]) == ("PT Contoh", "from-file")
    assert figures["categories"][0]["blocked"] == figures["categories"][0]["received"] == 6
    assert_fails(run("statement", *flags, "--language", "fr", env=env), 2, "--language")


def test_a_statement_has_the_format_that_its_file_is_named_for(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], tmp_path: Path
) -> None:
    synced(world, env, NUMBERS)
    assert enforce().code == 0
    flags = ("statement", "--sink", "default", "--month", f"{datetime.now(UTC):%Y-%m}", "-o")
    for name, begins in (
        ("nov.csv", "month,"),
        ("nov.JSON", "{"),
        ("nov.htm", "<!doctype html"),
        ("nov", "<!doctype html"),
        ("nov.txt", "<!doctype html"),
    ):
        assert run(*flags, tmp_path / name, env=env).code == 0
        assert (tmp_path / name).read_text().lower().startswith(begins), name
    assert run(*flags, tmp_path / "nov.txt", "--format", "csv", env=env).code == 0
    for name, words in (("nov.pdf", "print the page"), ("nov.xlsx", "html, csv or json")):
        assert_fails(run(*flags, tmp_path / name, env=env), 2, words)
        assert_fails(run(*flags, tmp_path / name, "--format", "html", env=env), 2, words)
        assert not (tmp_path / name).exists()
    assert_fails(run(*flags, tmp_path / "new.csv", "--format", "json", env=env), 2, "contradict")


def test_a_sink_that_does_not_know_the_account_is_no_network_that_fails(
    world: World, env: dict[str, str], redis_url: str
) -> None:
    synced(world, env, NUMBERS)
    refused = {**env, "BLOCKLIST_SINK": redis_url.replace("//", "//nobody:s3cret@")}
    for more in ((), ("--reconcile",)):
        assert_fails(run("enforce", *more, env=refused), 77, "does not permit this", "username-password")


def test_reconciling_finds_and_repairs(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], redis_url: str
) -> None:
    import redis

    synced(world, env, NUMBERS)
    sink = ("--sink", redis_url, "--name", "cache")
    assert "6 missing" in enforce(*sink, "--reconcile").out
    assert not list(world.directory.rglob("sinks"))
    assert enforce(*sink).code == 0
    assert "just what it should" in enforce(*sink, "--reconcile").out
    client = redis.Redis.from_url(redis_url.partition("?")[0])
    for key in client.keys(f"{redis_url.rpartition('=')[2]}*"):
        if client.type(key) == b"hash":
            client.hdel(key, NUMBERS[0].removeprefix("+"))
    client.close()
    found = enforce(*sink, "--reconcile", "--json")
    assert (found.code, found.document["missing"], found.document["surplus"]) == (1, 1, 0)
    mended = enforce(*sink, "--reconcile", "--repair", "--json")
    assert (mended.code, mended.document["repaired"]["outcomes"]) == (0, {"enforced": 1})
    assert enforce(*sink, "--reconcile").code == 0
    month = f"{datetime.now(UTC):%Y-%m}"
    figures = json.loads(run("statement", "--sink", "cache", "--month", month, "--format", "json", env=env).out)
    assert (figures["operations"]["block"]["received"], figures["repairs"]["blocked"]) == (6, 1)


@pytest.mark.parametrize("interval", [0.001, 1.0, 900.0, 366 * 86_400.0])
def test_the_wait_after_failures_grows_to_an_end_and_never_fails(interval: float) -> None:
    waits = [_backoff_s(interval, failures) for failures in (1, 2, 3, 20, 1_023, 1_024, 1_000_000)]
    assert waits == sorted(waits)
    assert waits[-1] == max(interval, 3600.0)


def test_watching_enforces_also_when_a_sync_fails(world: World, env: dict[str, str]) -> None:
    """An end, and what the recipient allows, must be lifted without the network."""
    synced(world, env, NUMBERS[:3])
    env["BLOCKLIST_URL"] = "http://127.0.0.1:9/"  # nothing listens there
    command = "from blocklist_sdk.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "enforce", "--watch", "--every", "1", "--json"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert '"enforced": 3' in process.stdout.readline()
        assert run("override", "allow", NUMBERS[0], "--reason", "appeal", env=env).code == 0
        while '"reversed": 1' not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "the sync failed, so the list that is in force is enforced: " in process.stderr.read()
    assert operations(world) == [("block", 3), ("unblock", 1)]


def test_watching_ends_with_a_signal(world: World, env: dict[str, str]) -> None:
    world.release(NUMBERS[:3])
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from blocklist_sdk.cli import main; main()",
            "enforce",
            "--watch",
            "--every",
            "1",
            "--json",
        ],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert '"enforced": 3' in process.stdout.readline()
        world.release(NUMBERS[1:3])
        while '"reversed": 1' not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert operations(world) == [("block", 3), ("unblock", 1)]


def test_watching_says_what_a_person_must_look_at(world: World, env: dict[str, str]) -> None:
    """With the exit code that a single run has, after each run, and it goes on until the sink answers as it should."""
    synced(world, env, NUMBERS[:3])
    with receiving() as receiver:
        receiver.step_in = lambda handler, _: (
            len(receiver.requests) <= 6 and handler.answer(200, b"<form>Sign in</form>", media_type="text/html")
        )
        env |= {"BLOCKLIST_SINK": receiver.url, "BLOCKLIST_WEBHOOK_SECRET": SECRET}
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from blocklist_sdk.cli import main; main()",
                *["enforce", "--watch", "--every", "1"],
            ],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            lines = [process.stdout.readline() for _ in range(7)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
            talk = process.stderr.read()
    assert ["3 in doubt" in line for line in lines] == [True] * 6 + [False]
    assert "3 enforced" in lines[-1]
    assert talk.count("exit code 4 without --watch. ") == 6
    assert "set aside" not in talk


def test_another_sink_under_the_same_name_is_refused(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS)
    assert enforce().code == 0
    second = (world.directory / "second").as_uri()
    assert_fails(enforce("--sink", second), 2, "belongs to file://", "--name", "--adopt", "--reconcile")
    assert not (world.directory / "second").exists()
    assert_fails(enforce("--sink", second, "--adopt"), 2, "but it is empty", "--name")
    (world.directory / "drop").rename(world.directory / "kept")
    shutil.copytree(world.directory / "kept", world.directory / "second")
    marker = world.directory / "second" / ".blocklist-drop.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"id": "another"}))
    adopted = enforce("--sink", second, "--adopt")
    assert (adopted.code, "from now on" in adopted.err) == (0, True)
    assert_fails(enforce("--watch", "--adopt"), 2, "--watch cannot be combined")


def test_what_is_unexplained_waits_until_it_is_accepted(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    numbers = [f"+62812000040{i:02d}" for i in range(30)]
    synced(world, env, numbers)
    assert enforce("--only-operator", "telkomsel").code == 0
    for flags in ((), ("--dry-run",)):
        ran = enforce("--only-operator", "indosat", *flags)
        assert ran.code == 6
        assert "30 to unblock wait, of 30 items that the sink held: --only-operator is indosat" in ran.err
        assert "--accept" in ran.err
        assert "+628…000" in ran.err
        assert "and 10 more" in ran.err
        assert not any(number in ran.err + ran.out for number in numbers)
    ran = enforce("--only-operator", "indosat", "--json")
    assert (ran.code, ran.document["waiting"]["changes"]["unblock"]) == (6, 30)
    assert "30 changes waiting" in enforce("--only-operator", "indosat").out
    assert "30 would wait" in enforce("--only-operator", "indosat", "--dry-run").out
    assert enforce("--only-operator", "indosat", "--accept").code == 0
    assert operations(world) == [("block", 30), ("unblock", 30)]


def test_accepting_without_a_refusal_is_not_taken_and_has_an_exit_code(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    """A flag that always worked would end up in the script."""
    numbers = [f"+62812000040{i:02d}" for i in range(30)]
    synced(world, env, numbers)
    ran = enforce("--accept")
    assert (ran.code, operations(world)) == (6, [("block", 30)]), "all else is done"
    assert "--accept was not taken: nothing waited at the last run" in ran.err
    ran = enforce("--only-operator", "indosat", "--accept", "--json")
    assert (ran.code, ran.document["waiting"]["removed"]) == (6, 30)
    assert "nothing waited at the last run" in ran.document["not_accepted"]
    synced(world, env, numbers[1:])
    ran = enforce("--only-operator", "indosat", "--accept")
    assert (ran.code, operations(world)[-1]) == (6, ("unblock", 1))
    assert "what waits is not what waited at the last run" in ran.err
    assert enforce("--only-operator", "indosat", "--accept").code == 0
    assert enforce("--only-operator", "indosat").code == 0


def test_what_waits_in_a_service_is_accepted_beside_it(world: World, env: dict[str, str]) -> None:
    numbers = [f"+62812000040{i:02d}" for i in range(30)]
    synced(world, env, numbers)
    assert run("enforce", env=env).code == 0
    command = ["enforce", "--only-operator", "indosat"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from blocklist_sdk.cli import main; main()", *command, "--watch", "--every", "1"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert "30 changes waiting" in process.stdout.readline()
        accepted = run(*command, "--accept", env=env)
        while "waiting" in (line := process.stdout.readline()):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert (accepted.code, operations(world)) == (0, [("block", 30), ("unblock", 30)]), accepted.err
    assert "nothing to do" in line


def test_a_run_that_only_looks_repairs_nothing(
    world: World, env: dict[str, str], enforce: Callable[..., Ran], redis_url: str
) -> None:
    synced(world, env, NUMBERS)
    sink = ("--sink", redis_url, "--name", "cache")
    assert enforce(*sink).code == 0
    before = {path: path.read_bytes() for path in world.directory.rglob("sinks/**/*") if path.is_file()}
    other = ("--sink", f"{redis_url}-other", "--name", "cache")
    assert_fails(
        enforce(*other, "--reconcile", "--repair", "--dry-run"), 2, "--repair cannot be combined with --dry-run"
    )
    assert_fails(enforce(*other, "--reconcile", "--adopt"), 2, "--adopt cannot be combined with --reconcile")
    assert_fails(enforce(*other, "--reconcile", "--repair", "--adopt"), 2, "--adopt cannot be combined")
    assert_fails(enforce(*other, "--reconcile", "--accept"), 2, "--accept needs a run")
    after = {path: path.read_bytes() for path in world.directory.rglob("sinks/**/*") if path.is_file()}
    assert after == before


def test_a_month_without_records_has_no_statement(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS)
    assert enforce().code == 0
    assert_fails(run("statement", "--sink", "default", "--month", "2025-01", env=env), 2, "has no record of 2025-01")


def answering(outcome_of: Callable[[dict[str, Any]], str | None]) -> Callable[[Asked], dict[str, Any]]:
    """A webhook's answers, by the change; None to leave it out."""

    def answer(asked: Asked) -> dict[str, Any]:
        outcomes = [(item["key"], outcome_of(item)) for item in asked.document["items"]]
        return {"items": [{"key": key, "outcome": outcome} for key, outcome in outcomes if outcome]}

    return answer


def test_exit_codes_tell_how_much_was_enforced(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    env["BLOCKLIST_WEBHOOK_SECRET"] = new_webhook_secret()
    refused: set[str] = set()
    answer = answering(lambda item: "refused" if item["number"] in refused else "enforced")
    with exchanging(routes({"POST /blocks": answer})) as (url, _):
        env["BLOCKLIST_SINK"] = f"{url}/blocks"
        synced(world, env, NUMBERS[:3])
        refused.add(NUMBERS[0])
        first = enforce("--json")
        assert (first.code, first.document["outcomes"]) == (8, {"enforced": 2, "refused": 1})
        again = enforce("--json")
        assert (again.code, again.document["newly_set_aside"]) == (8, 1), "it was set aside today"
        assert "1 item set aside, 1 of them today (UTC)" in enforce().err


@pytest.mark.parametrize(
    ("today", "words"), [(2, "3 items set aside, 2 of them today (UTC)"), (0, "3 items set aside, none of them today")]
)
def test_what_was_set_aside_today_is_told_from_what_was_before(today: int, words: str) -> None:
    result = EnforcementResult(1, {}, {}, set_aside=3, newly_set_aside=today)
    assert _set_aside_text(result).startswith(words)


def test_several_operators_are_enforced(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    synced(world, env, ["+6281255500001", "+6285755500001", "+6287755500001"])
    dry = enforce("--only-operator", "telkomsel", "--only-operator", "indosat", "--dry-run", "--json").document
    assert dry["planned"]["block"] == 2
    assert_fails(enforce("--only-operator", "telkomsel", "--only-operator", "nobody"), 2, "'nobody'")


def test_a_scope_that_no_entry_has_is_named(world: World, env: dict[str, str], enforce: Callable[..., Ran]) -> None:
    synced(world, env, NUMBERS)
    for flags in ((), ("--dry-run",)):
        ran = enforce("--scope", "messaging", *flags)
        assert "no entry on the list has the scope messaging" in ran.err
        assert "its entries have sms, voice" in ran.err
    assert "no entry on the list" not in enforce("--scope", "messaging", "--scope", "voice", "--dry-run").err


def test_a_webhook_that_answers_nonsense_never_ends_with_0(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    env["BLOCKLIST_WEBHOOK_SECRET"] = new_webhook_secret()
    with exchanging(routes({"POST /blocks": answering(lambda item: None)})) as (url, _):
        env["BLOCKLIST_SINK"] = f"{url}/blocks"
        synced(world, env, NUMBERS[:2])
        assert [enforce().code for _ in range(7)] == [4] * 7, "it is pending, and a person must look"


def test_a_daily_cap_that_leaves_something_ends_with_0(
    world: World, env: dict[str, str], enforce: Callable[..., Ran]
) -> None:
    synced(world, env, NUMBERS)
    ran = enforce("--daily-cap", "4", "--json")
    assert (ran.code, ran.document["deferred"]) == (0, 2)
