"""What the library logs: fields for machines, and never a whole telephone number."""

import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import BlocklistError
from blocklist_sdk.recipient.cache.state import SyncState, save_state
from blocklist_sdk.recipient.sync_outcomes import OUTCOMES, SyncOutcome, log_fields
from support.loopback import Handler, answering
from support.world import ADDED, FEED, FIRST, LISTED, SECOND, Forger, World, copy_world, make_world, past, stranger

_PLAIN = frozenset(vars(logging.makeLogRecord({})))
"""The fields of every log record; all others are the library's own."""

_LONG = re.compile(r"(?<![0-9a-f])\+?\d(?:[ .-]?\d){7,}(?![0-9a-f])", re.ASCII)
"""Eight digits or more, however they are grouped, that are not part of a hash."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "blocklist_sdk")
    return caplog


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN and name != "message"}


def outcomes(logged: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [fields(each) for each in logged.records if each.name == "blocklist_sdk.recipient.sync.run" and fields(each)]


def test_a_sync_that_succeeds_is_logged_with_its_figures(world: World, logged: pytest.LogCaptureFixture) -> None:
    recipient = world.recipient()
    result = recipient.sync()
    (found,) = outcomes(logged)
    seconds = found.pop("seconds")
    assert found == {"feed": FEED, "outcome": "snapshot", "serial": 1, "kind": "snapshot", "bytes": result.bytes}
    assert 0 <= seconds <= result.seconds + 0.001


@pytest.mark.parametrize("outcome", ["unreachable", "untrusted", "stale", "malformed"])
def test_a_sync_that_fails_has_the_same_fields(world: World, logged: pytest.LogCaptureFixture, outcome: str) -> None:
    def step_in(handler: Handler) -> bool:
        if outcome == "unreachable":
            return handler.fail(404)
        if outcome == "malformed" and handler.path.endswith("timestamp.json"):
            handler.answer(b"<html>sign in to the hotel's network</html>")
            return True
        return False

    if outcome == "untrusted":
        Forger(world).forge("timestamp", signers=[stranger()])
    if outcome == "stale":
        Forger(world).forge("timestamp", past)
    with answering(world.repository, step_in) as (url, _), pytest.raises(BlocklistError):
        world.recipient(url=url).sync()
    (found,) = outcomes(logged)
    assert found["bytes"] >= 0
    assert found["seconds"] >= 0
    assert {name: found[name] for name in ("feed", "outcome", "serial", "kind")} == {
        "feed": FEED,
        "outcome": outcome,
        "serial": None,
        "kind": None,
    }


def test_every_field_may_stand_beside_the_message() -> None:
    """No field has a name that log records have already, which would be an error."""
    assert _PLAIN.isdisjoint(log_fields(FEED, ValueError(), bytes=0, seconds=0))
    assert log_fields(FEED, ValueError(), bytes=0, seconds=0)["outcome"] in OUTCOMES


def test_no_record_has_a_whole_number(world: World, logged: pytest.LogCaptureFixture) -> None:
    """With all that can happen: syncs that go well and badly, damage, questions about texts that are not numbers."""

    def broken(outcome: SyncOutcome) -> None:
        raise RuntimeError(f"a caller's bug about {LISTED}")

    assert _LONG.search(_without_paths(f"about {LISTED}")), "what is looked for would be found"
    recipient = world.recipient()
    recipient.add_listener(broken)
    recipient.sync()
    world.release(SECOND)
    with recipient.keep_synced(0.01) as background:
        while recipient.status().serial != 2:
            assert background.is_running
    for text in (LISTED, ADDED, FIRST[5], "+62 812 3456 7890 x", "0812-3456-78901234567", "081234567890O"):
        with contextlib.suppress(BlocklistError):
            recipient.check(text)
        with contextlib.suppress(BlocklistError):
            _ = text in recipient
    recipient.screen(_column([*FIRST[:50], "0812-3456-7890 or 0812-3456-7891", None]))
    for damaged in (world.directory / "cache" / FEED / "generations").glob("*/*"):
        damaged.write_bytes(b"+6281234567890 " * 9)
    with contextlib.suppress(BlocklistError):
        world.recipient().check(LISTED)
    world.recipient().sync()
    state = world.directory / "cache-state" / FEED / "state.json"
    state.write_text('{"format": 1, "highest_serial": "+6281234567890"}')
    world.recipient().status()
    save_state(state, SyncState(highest_serial=2))
    world.release([*SECOND, "+6281234567890"])
    with answering(world.repository, _liar) as (url, _), contextlib.suppress(BlocklistError):
        world.recipient(url=url).sync()
    Forger(world).forge("timestamp", past)
    with contextlib.suppress(BlocklistError):
        world.recipient().sync()
    assert len(logged.records) > 10
    for record in logged.records:
        texts = [record.getMessage(), *(value for value in fields(record).values() if isinstance(value, str))]
        # A traceback would contain what our messages leave out.
        assert not record.exc_info
        for text in texts:
            assert not _LONG.search(_without_paths(text)), text


def _liar(handler: Handler) -> bool:
    if not handler.path.endswith(".parquet"):
        return False
    handler.answer(b"+6281234567890 " * 20)
    return True


def _column(texts: list[str | None]) -> Any:
    import pyarrow as pa

    return pa.array(texts)


def _without_paths(text: str) -> str:
    """Names of generations contain zero-padded serials and random digits; times and ports are not numbers either."""
    without = re.sub(r"\S*/\S*", "PATH", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?", "MOMENT", without)
