"""The repository for integrators' tests: the real client reads it, and every fault is the real error. Numbers are
generated."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest

from blocklist_sdk import (
    AsyncBlocklist,
    Blocklist,
    BlocklistError,
    InvalidInput,
    Malformed,
    NotPermitted,
    NotSynced,
    Refused,
    Stale,
    Unreachable,
    Untrusted,
    times,
)
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.net.in_memory import answering, server_at
from blocklist_sdk.testing import FakeRepository, Fault, fake_clock, fake_repository, generated_numbers

LISTED, OTHER = generated_numbers(2)

FAULTS: dict[str, tuple[type[BlocklistError], str]] = {
    "unreachable": (Unreachable, "the connection failed"),
    "slow": (Unreachable, "timed out"),
    "server-error": (Unreachable, "503"),
    "too-many-requests": (Unreachable, "429"),
    "not-permitted": (NotPermitted, "401"),
    "captive-portal": (Malformed, "captive portal"),
    "expired": (Stale, "expired"),
    "wrong-signature": (Untrusted, "signed by 0/1 keys"),
    "rollback": (Untrusted, "version"),
    "truncated": (Untrusted, "length"),
    "damaged": (Untrusted, "hash"),
    "mass-removal": (Refused, "empty"),
    "mass-addition": (Refused, "more rows"),
}
"""Each fault, the error of a sync, and a word of it; docs/how-to/test-an-integration.md has the same table."""


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.fixture
def repository() -> Iterator[FakeRepository]:
    with fake_repository(feed="id-messaging", region="ID") as made:
        yield made


def test_the_real_client_reads_what_is_published(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    with pytest.raises(NotSynced):
        blocklist.check(LISTED)
    assert repository.publish([LISTED]).serial == 1
    result = blocklist.sync()
    assert (result.after, result.added) == (1, 1)
    assert (LISTED in blocklist, OTHER in blocklist) == (True, False)
    assert blocklist.check(LISTED, scope="messaging").reason == "listed"
    assert blocklist.verify().rows == 1
    repository.add([OTHER], scope="sms")
    repository.remove([LISTED])
    assert blocklist.sync().after == 3
    assert (LISTED in blocklist, OTHER in blocklist) == (False, True)
    assert not blocklist.check(OTHER, scope="voice")


def test_entries_are_given_in_any_form(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    end = datetime(2099, 1, 1, tzinfo=UTC)
    repository.publish(
        [
            6281200000001,
            "0812-0000-0002",
            "+628120000001#",
            {"number": "+6281200000100", "last": 6281200000109, "level": "advisory", "category": "spam"},
            {"number": "+6281200000200", "scope": ("voice", "sms"), "issuer": "other", "until": end},
        ],
        level="block",
        category="phishing",
    )
    blocklist.sync()
    (pattern,) = blocklist.entries("+6281200000015")
    assert (pattern.number, pattern.last, pattern.category) == (6281200000010, 6281200000019, "phishing")
    assert blocklist.check("+6281200000105").reason == "advisory"
    (last,) = blocklist.entries("+6281200000200")
    assert (sorted(last.scope), last.issuer, last.until) == (["sms", "voice"], "other", end)
    assert 6281200000001 in blocklist
    assert 6281200000002 in blocklist
    repository.publish([last])
    blocklist.sync()
    (again,) = blocklist.entries("+6281200000200")
    assert (again.entry, again.scope, again.until) == (last.entry, last.scope, last.until)
    assert blocklist.status().rows == 1


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        (["GoPay", OTHER], {}, "1 entry cannot be listed, but all others are: entry 1: "),
        (
            [{"number": LISTED, "until": datetime(2020, 1, 1, tzinfo=UTC)}],
            {"since": datetime(2021, 1, 1, tzinfo=UTC)},
            "until",
        ),
        ([{"number": LISTED, "wrong": 1}], {}, "'wrong' is not one of them"),
        ([{"level": "block"}], {}, "number is missing"),
        ([LISTED], {"until": datetime(2099, 1, 1)}, "time zone"),  # noqa: DTZ001 -- that is the point
        ([LISTED], {"level": "ban"}, "level"),
    ],
)
def test_what_cannot_be_listed_is_an_error(
    repository: FakeRepository, entries: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        repository.publish(entries, **options)
    assert LISTED not in str(caught.value)


def test_a_protected_number_is_never_blocked(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    repository.publish([LISTED, OTHER])
    assert repository.protect([LISTED]) == 1
    blocklist.sync()
    assert blocklist.check(LISTED).reason == "protected"
    with pytest.raises(InvalidInput, match="protected"):
        repository.publish([LISTED])


def test_the_faults_and_their_errors_are_all_known() -> None:
    assert list(FAULTS) == list(get_args(Fault))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_error_of_the_real_client(repository: FakeRepository, fault: Fault) -> None:
    error, word = FAULTS[fault]
    blocklist = repository.blocklist()
    repository.publish(generated_numbers(150))
    blocklist.sync()
    started = time.monotonic()
    with repository.fail(fault):
        with pytest.raises(error, match=word) as caught:
            blocklist.sync()
        assert type(caught.value) is error
        assert LISTED in blocklist, "the last verified list goes on answering"
    assert time.monotonic() - started < 60, "nothing is waited for, however often it is tried"
    blocklist.sync()
    assert (blocklist.status().rows, blocklist.status().last_error) == (150, None)
    if isinstance(caught.value, Unreachable):
        assert (caught.value.retry_after is not None) is (fault == "too-many-requests")


def test_a_fault_lasts_until_it_is_healed_and_only_one_at_a_time(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    repository.publish([LISTED])
    repository.fail("unreachable")
    repository.fail("expired")
    with pytest.raises(Stale):
        blocklist.sync()
    repository.heal()
    assert blocklist.sync().after == 1


def test_a_fault_that_would_show_nothing_is_an_error(repository: FakeRepository) -> None:
    with pytest.raises(InvalidInput, match="'flood' is not a fault; the faults are unreachable, slow"):
        repository.fail("flood")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="nothing was published yet"):
        repository.fail("rollback")
    repository.publish([])
    with pytest.raises(InvalidInput, match="the list is empty"):
        repository.fail("mass-removal")
    assert repository.blocklist().sync().after == 1, "nothing fails"


def test_a_refused_list_is_let_in_by_a_person(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    repository.publish(generated_numbers(150))
    blocklist.sync()
    with repository.fail("mass-removal"):
        with pytest.raises(Refused) as caught:
            blocklist.sync()
        assert blocklist.sync(accept=caught.value.accept).removed == 150
        assert LISTED not in blocklist


def test_the_clock_moves_ends_beginnings_and_expiry(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    start = repository.clock.set(datetime(2027, 3, 1, 12, tzinfo=UTC))
    repository.publish(
        [
            {"number": LISTED, "until": start + timedelta(hours=1)},
            {"number": OTHER, "since": start + timedelta(days=2)},
        ]
    )
    blocklist.sync()
    assert (LISTED in blocklist, OTHER in blocklist) == (True, False)
    assert blocklist.check(LISTED).as_of == start
    repository.clock.advance(timedelta(hours=1))
    assert blocklist.check(LISTED).reason == "expired"
    assert LISTED not in blocklist
    repository.clock.advance(timedelta(days=3))
    assert OTHER in blocklist
    assert blocklist.check(OTHER).stale
    blocklist.sync()
    assert not blocklist.check(OTHER).stale, "the authority has signed again meanwhile"
    repository.clock.set(start)
    assert (LISTED in blocklist, OTHER in blocklist) == (True, False)


def test_a_look_up_server_goes_by_the_clock_too(repository: FakeRepository) -> None:
    blocklist = repository.blocklist()
    answers = Answers(blocklist)
    repository.publish([{"number": LISTED, "until": repository.clock.now + timedelta(days=1)}, OTHER])
    blocklist.sync()
    assert answers.levels((LISTED, OTHER)) == ["block", "block"]
    repository.clock.advance(timedelta(hours=1))
    assert answers.levels((LISTED, OTHER)) == ["block", "block"]
    repository.clock.advance(timedelta(days=1))
    assert answers.levels((LISTED, OTHER)) == ["", "block"]


def test_years_pass(repository: FakeRepository) -> None:
    """Even the root expires, and is renewed."""
    blocklist = repository.blocklist()
    repository.publish([LISTED])
    for _ in range(3):
        repository.clock.advance(timedelta(days=330))
        blocklist.sync()
        assert not blocklist.status().stale
    with fake_repository() as other:
        other.clock.set(datetime(2020, 1, 1, tzinfo=UTC))
        other.publish([LISTED])
        assert other.blocklist().sync().after == 1


def test_with_a_clock_that_stands_still_another_lists_sync_is_noticed_at_once(repository: FakeRepository) -> None:
    one, another = repository.blocklist(), repository.blocklist()
    repository.publish([LISTED])
    one.sync()
    assert LISTED in another
    repository.clock.advance(timedelta(0))
    repository.publish([OTHER])
    one.sync()
    assert (LISTED in another, OTHER in another) == (False, True)


def test_the_clock_is_the_machines_again_afterwards() -> None:
    with fake_clock() as clock:
        with fake_repository() as repository:
            repository.clock.set(datetime(2030, 1, 1, tzinfo=UTC))
            assert clock.now.year == 2030
        assert clock.now.year != 2030
        clock.advance(timedelta(days=1000))
        clock.reset()
        assert times.clock is time.time
        with pytest.raises(InvalidInput, match="has no time zone"):
            clock.set(datetime(2030, 1, 1))  # noqa: DTZ001 -- that is the point
    assert times.clock is time.time
    assert times.moment is None


def test_code_that_opens_the_list_by_itself_leaves_nothing_on_this_machine(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    repository.publish([LISTED])
    with Blocklist.open(repository.url, feed=repository.feed, root=repository.root) as blocklist:
        blocklist.sync()
        assert LISTED in blocklist
    for name, value in repository.environment.items():
        monkeypatch.setenv(name, value)
    with Blocklist.from_settings() as blocklist:
        assert LISTED in blocklist
    assert list(tmp_path.iterdir()) == []


def test_an_asynchronous_program_reads_it_too(repository: FakeRepository) -> None:
    repository.publish([LISTED])

    async def ask() -> bool:
        async with AsyncBlocklist.open(repository.url, feed=repository.feed, root=repository.root) as blocklist:
            await blocklist.sync()
            return LISTED in blocklist

    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        assert asyncio.run(ask())


def test_other_processes_read_its_files(repository: FakeRepository) -> None:
    repository.publish([LISTED])
    with repository.blocklist(url=repository.files.as_uri(), cache_dir=repository.directory / "other") as blocklist:
        blocklist.sync()
        assert LISTED in blocklist


def test_nothing_is_left_of_it() -> None:
    with fake_repository() as repository:
        assert server_at(repository.url) is repository
        assert repository.directory.is_dir()
        blocklist = repository.blocklist()
        repository.publish([LISTED])
        blocklist.sync()
    assert server_at(repository.url) is None
    assert not repository.directory.exists()


def test_only_hosts_of_nobody_are_answered_for(repository: FakeRepository) -> None:
    for host in ("exchange.example", "lists.telkomsel.co.id", repository.url.removeprefix("https://")):
        with pytest.raises(ValueError, match=r"a host that ends in \.test and has no"), answering(host, repository):
            pass


def test_generated_numbers_are_distinct_and_end() -> None:
    assert len(set(generated_numbers(5000))) == 5000
    assert not set(generated_numbers(100)) & set(generated_numbers(100, start=100))
    with pytest.raises(ValueError, match="at most 100,000,000"):
        generated_numbers(1, start=10**8)


def test_blocks_with_clocks_may_overlap() -> None:
    """As those of two threads do."""
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(fake_clock()).set(datetime(2030, 1, 1, tzinfo=UTC))
    second.enter_context(fake_clock()).set(datetime(2040, 1, 1, tzinfo=UTC))
    first.close()
    assert times.now().year == 2040
    second.close()
    assert abs(times.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(times.clock() - time.time()) < 60
    with contextlib.suppress(KeyError), fake_clock() as clock:
        clock.set(datetime(2030, 1, 1, tzinfo=UTC))
        raise KeyError
    assert times.now().year != 2030
