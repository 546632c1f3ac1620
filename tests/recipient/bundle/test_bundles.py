"""A bundle answers as its list does, says what it is, and changes nothing."""

import json
import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest

import blocklist_sdk
from blocklist_sdk import (
    AsyncBlocklist,
    Blocklist,
    Blocklists,
    InvalidInput,
    Malformed,
    NotSynced,
    Stale,
    Untrusted,
    enforcement,
)
from blocklist_sdk.recipient import write_metrics
from blocklist_sdk.recipient.blocklist import internals_of, level_path_of
from blocklist_sdk.records import Scope
from support.bundles import ASKED, LISTED, MORE, NEXT, PROTECTED, contents_of, release
from support.clock import Clock
from support.killing import Moment, Say, nursery, spread
from support.memory_sink import MemorySink
from support.world import FEED, OTHER_FEED, Recipient, World, copy_world, make_world

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

SCOPES: tuple[Scope | None, ...] = (None, "sms", "voice", "messaging")
ALLOWED, BLOCKED, MINE = "+6281200000001", "+6281277777777", "+6281300000010"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A list with ranges, ends, scopes, a protected number, and an overlay; and overrides of the recipient's."""
    world = make_world(tmp_path_factory.mktemp("world"))
    release(world, LISTED + MORE)
    recipient = world.recipient(is_guarded=False)
    recipient.sync()
    world.publisher.protect([PROTECTED])
    release(world, NEXT + MORE)
    assert recipient.sync().kind == "delta"
    recipient.overrides.allow(ALLOWED, reason="our hotline")
    recipient.overrides.block(BLOCKED, reason="ticket 5")
    recipient.bundle(world.directory / "plain.bundle")
    recipient.bundle(world.directory / "own.bundle", overrides=True)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path / "world")


def root_of(world: World) -> Path:
    return world.directory / "publisher" / "root.json"


def opened(world: World, name: str = "plain.bundle", **arguments: Any) -> Blocklist:
    return Blocklist.open_bundle(world.directory / name, root=root_of(world), region="ID", **arguments)


def verdicts(blocklist: Blocklist) -> list[object]:
    found: list[object] = [
        blocklist.check(n, scope=scope) for n in ASKED for scope in (None, "sms", "voice", "messaging")
    ]
    found += [n in blocklist for n in ASKED] + [blocklist.entries(n) for n in ASKED]
    found.append(blocklist.screen(pa.array(ASKED)).to_pylist())
    found.append(blocklist.screen(pa.array(ASKED), scope="sms").to_pylist())
    return found


def test_it_answers_as_its_list(template: World) -> None:
    recipient = template.recipient()
    bundle = opened(template, "own.bundle", overrides=True)
    assert verdicts(bundle) == verdicts(recipient)
    assert (BLOCKED in bundle, ALLOWED in bundle, PROTECTED in bundle) == (True, False, False)
    assert bundle.check(PROTECTED).reason == "protected"
    assert list(bundle.overrides) == list(recipient.overrides)
    assert bundle.overrides.get(ALLOWED) == recipient.overrides.get(ALLOWED)
    assert bundle.overrides.get("+6281200000009") is None
    assert bundle.to_arrow().equals(recipient.to_arrow())
    assert bundle.explain(ALLOWED) == recipient.explain(ALLOWED)
    assert [str(each) for each in bundle.changes(since=None)] == [str(each) for each in recipient.changes(since=None)]
    assert bundle.verify()
    assert replace(bundle.verify(), problems=()) == recipient.verify()
    assert bundle.root_fingerprint == recipient.root_fingerprint
    assert bundle.is_synced()
    assert not bundle.audit_record().heads
    bundle.close()
    assert BLOCKED in bundle


def test_its_status_says_what_it_is(template: World, tmp_path: Path) -> None:
    was, bundle = template.recipient().status(), opened(template)
    state = bundle.status()
    for name in ("feed", "serial", "rows", "digest", "as_of", "expires", "stale", "scopes", "scope_entries", "era"):
        assert getattr(state, name) == getattr(was, name), name
    path = template.directory / "plain.bundle"
    assert state.bundle == str(path)
    assert bundle.url == path.as_uri()
    assert state.generation_bytes == state.disk_bytes == path.stat().st_size
    assert (state.last_success, state.last_error, state.refused, state.held, state.damaged) == (
        None,
        None,
        None,
        {},
        False,
    )
    assert (state.generations, state.generation_eras, state.overrides) == ((was.serial,), (was.era,), 0)
    assert state.whole_at is not None
    assert was.bundle is None
    write_metrics(tmp_path / "metrics", state)


def test_overrides_count_only_where_both_sides_say_so(template: World, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidInput, match="has no overrides"):
        opened(template, overrides=True)
    ignoring = opened(template, "own.bundle")
    assert "they do not count" in caplog.text
    assert (len(ignoring.overrides), BLOCKED in ignoring, ALLOWED in ignoring) == (0, False, True)
    assert opened(template, "own.bundle", overrides=True).status().overrides == 2


def test_own_protected_numbers_come_with_overrides(world: World) -> None:
    arguments: dict[str, Any] = {"feed": FEED, "root": root_of(world), "cache_dir": world.directory / "cache"}
    state = world.directory / "cache-state"
    recipient = Blocklist.open(world.url, **arguments, region="ID", state_dir=state, protected=[MINE, PROTECTED])
    made = recipient.bundle(world.directory / "mine.bundle", overrides=True)
    assert (made.own_protected, made.own_protected_left_out) == (1, 0)
    without = recipient.bundle(world.directory / "without.bundle")
    assert (without.own_protected, without.own_protected_left_out, without.overrides_left_out) == (None, 1, 2)
    assert opened(world, "mine.bundle", overrides=True).check(MINE).reason == "protected"
    assert opened(world, "mine.bundle").check(MINE).reason == "listed"
    assert opened(world, "mine.bundle", protected=[MINE]).check(MINE).reason == "protected"


WRITES: dict[str, Callable[[Blocklist], object]] = {
    "sync": lambda bundle: bundle.sync(),
    "dry_run": lambda bundle: bundle.dry_run(),
    "upkeep": lambda bundle: bundle.upkeep(),
    "replace_root": lambda bundle: bundle.replace_root("0" * 64),
    "keep_synced": lambda bundle: bundle.keep_synced(),
    "add_listener": lambda bundle: bundle.add_listener(print),
    "hold": lambda bundle: bundle.hold("sink", 2),
    "release_hold": lambda bundle: bundle.release_hold("sink"),
    "bundle": lambda bundle: bundle.bundle("other.bundle"),
    "allow": lambda bundle: bundle.overrides.allow(BLOCKED, reason="x"),
    "block": lambda bundle: bundle.overrides.block(BLOCKED, reason="x"),
    "decide": lambda bundle: bundle.overrides.decide("block", BLOCKED, reason="x"),
    "remove": lambda bundle: bundle.overrides.remove(BLOCKED),
    "import_file": lambda bundle: bundle.overrides.import_file("list.csv"),
    "enforce": lambda bundle: enforcement.enforce(bundle, MemorySink()),
    "reconcile": lambda bundle: enforcement.reconcile(bundle, MemorySink()),
    "ledger_path": lambda bundle: enforcement.ledger_path(bundle, "hlr"),
    "changes": lambda bundle: bundle.changes(since=1),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_writes_says_that_it_is_a_bundle(template: World, name: str) -> None:
    with pytest.raises(InvalidInput, match="is a bundle, which "):
        WRITES[name](opened(template))


def test_it_expires_with_its_signatures(template: World, monkeypatch: pytest.MonkeyPatch) -> None:
    status = template.recipient().status()
    assert status.expires is not None
    assert status.as_of is not None
    clock = Clock(status.expires - timedelta(seconds=1))
    clock.install(monkeypatch)
    serving, raising = opened(template), opened(template, when_stale="raise")
    assert not serving.check(BLOCKED).stale
    assert ALLOWED in raising
    clock.at_s += 1
    assert serving.check(BLOCKED).stale
    assert serving.status().stale
    for ask in (lambda: ALLOWED in raising, lambda: raising.check(ALLOWED), lambda: raising.to_arrow()):
        with pytest.raises(Stale, match="make the bundle anew"):
            ask()
    clock.at_s = (status.as_of - timedelta(hours=1)).timestamp()
    assert serving.check(BLOCKED).clock_behind_s == serving.status().clock_behind_s == 3600
    assert "+6281200000005" in serving, "it has begun, whatever this clock says"
    with pytest.raises(Stale, match="clock"):
        raising.check(ALLOWED)


def test_the_oldest_release_that_is_taken(template: World) -> None:
    serial = template.recipient().status().serial
    assert serial is not None
    for least in (serial, serial - 1, str(serial), f"1.{serial}"):
        assert opened(template, min_release=least).status().serial == serial
    for newer in (serial + 1, f"1.{serial + 1}", f"2.{serial}"):
        asked = str(newer).removeprefix("1.")
        with pytest.raises(Untrusted, match=rf"asks for at least {asked}: take a newer bundle\. Nothing"):
            opened(template, min_release=newer)
    with pytest.raises(InvalidInput):
        opened(template, min_release="last")


def test_the_oldest_release_is_compared_within_an_era_unless_its_era_is_named(world: World) -> None:
    recipient = world.recipient()
    before = recipient.status().serial
    assert before is not None
    world.publisher.rotate_keys(f"feed.{FEED}", restart_serials=True, even_if_serials_are_left=True)
    recipient.sync()
    made = recipient.bundle(world.directory / "era.bundle")
    assert (made.era > 1, made.serial) == (True, 1)
    for least in (1, f"{made.era}.1", f"1.{before}", f"1.{before + 50}"):
        assert opened(world, "era.bundle", min_release=least).status().serial == 1
    named = rf"at least {made.era}\.{before}: take a newer bundle; .* new era, name it, as in {made.era}\.1\. Nothing"
    with pytest.raises(Untrusted, match=named):
        opened(world, "era.bundle", min_release=before)
    for newer in (f"{made.era}.2", f"{made.era + 1}.1"):
        with pytest.raises(Untrusted, match=rf"at least {newer}: take a newer bundle\. Nothing"):
            opened(world, "era.bundle", min_release=newer)
    # One of an era that has ended passes for a bare serial, and not where the era is named.
    assert opened(world, min_release=1).status().serial == before
    with pytest.raises(Untrusted, match="take a newer bundle"):
        opened(world, min_release=f"{made.era}.1")


def test_who_may_read_it(world: World) -> None:
    """As the list is read; with overrides as these are."""

    def mode(name: str) -> int:
        return stat.S_IMODE((world.directory / name).stat().st_mode)

    recipient = world.recipient()
    (world.directory / "open").touch(0o666)
    for name, overrides, expected in (("open", False, 0o640), ("own", True, 0o600)):
        recipient.bundle(world.directory / name, overrides=overrides)
        assert mode(name) == expected
    arguments: dict[str, Any] = {"feed": FEED, "root": root_of(world), "cache_dir": world.directory / "cache"}
    with Blocklist.open(
        world.url,
        **arguments,
        state_dir=world.directory / "cache-state",
        file_mode="0644",
    ) as shared:
        shared.bundle(world.directory / "all", overrides=True)
    assert mode("all") == 0o644


def test_what_cannot_be_bundled(world: World) -> None:
    with pytest.raises(NotSynced):
        world.recipient(cache="fresh").bundle(world.directory / "new.bundle")
    recipient = world.recipient()
    before = sorted(path.name for path in world.directory.iterdir())
    with pytest.raises(InvalidInput, match="not a regular file"):
        recipient.bundle(world.directory / "cache")
    (path,) = (world.directory / "cache").glob("*/generations/*-*/puts.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Malformed, match="damaged: run a sync"):
        recipient.bundle(world.directory / "new.bundle")
    assert recipient.status().damaged
    assert sorted(path.name for path in world.directory.iterdir()) == before


def refuse_the_next(world: World, recipient: Recipient) -> None:
    """Offer a release that the guard keeps out, so that the newest metadata is not that of the list in force."""
    release(world, "number\n" + "".join(f"+62812{i:08d}\n" for i in range(5000)))
    with pytest.raises(blocklist_sdk.Refused):
        recipient.sync()


def test_a_list_whose_successor_is_refused_is_bundled_as_it_was_signed(world: World) -> None:
    recipient = world.recipient()
    before = recipient.status()
    refuse_the_next(world, recipient)
    made = recipient.bundle(world.directory / "kept.bundle")
    assert (made.serial, made.digest) == (before.serial, before.digest)
    assert before.expires is not None
    assert made.expires <= before.expires
    assert opened(world, "kept.bundle").check(PROTECTED).reason == "protected"


def test_no_bundle_protects_less_than_its_list(world: World) -> None:
    recipient = world.recipient()
    refuse_the_next(world, recipient)
    world.publisher.protect([ALLOWED])
    with pytest.raises(blocklist_sdk.Refused):
        recipient.sync()
    with pytest.raises(InvalidInput, match="Sync it"):
        recipient.bundle(world.directory / "less.bundle")


def test_roots_lead_from_an_older_pin_to_a_newer_one(world: World) -> None:
    old_root = root_of(world).read_bytes()
    recipient = world.recipient()
    world.publisher.rotate_keys("root")
    recipient.sync()
    recipient.bundle(world.directory / "next.bundle")
    roots = roots_in(world.directory / "next.bundle")
    assert len(roots) > 1
    for root in (old_root, *roots):
        for name in ("plain.bundle", "next.bundle"):
            # Other root keys, and the same keys of the other roles: the older one is still as it was signed.
            assert Blocklist.open_bundle(world.directory / name, root=root).verify()
    world.publisher.rotate_keys("online")
    recipient.sync()
    recipient.bundle(world.directory / "newest.bundle")
    newest = roots_in(world.directory / "newest.bundle")
    assert newest[: len(roots)] == roots
    for root in (old_root, newest[-1]):
        assert Blocklist.open_bundle(world.directory / "newest.bundle", root=root).verify()
    with pytest.raises(Untrusted, match="cannot be proved"):
        Blocklist.open_bundle(world.directory / "next.bundle", root=newest[-1])


def roots_in(bundle: Path) -> list[bytes]:
    return [data for name, data in contents_of(bundle).items() if name.endswith(".root.json")]


ASK = """
import os, sys
from blocklist_sdk import Blocklist
bundle, root, number = sys.argv[1:]
for folder in (os.getcwd(), os.path.dirname(bundle)):
    assert not os.access(folder, os.W_OK), folder
blocklist = Blocklist.open_bundle(bundle, root=root, region="ID")
assert number in blocklist
if os.fork() == 0:
    os._exit(0 if number in blocklist and blocklist.check(number).blocked and blocklist.verify() else 9)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
heavy = {"httpx", "tuf.ngclient", "sqlite3", "tenacity"} & sys.modules.keys()
print(blocklist.status().rows, sorted(heavy))
"""


def test_it_opens_where_nothing_can_be_written(world: World) -> None:
    """By two processes at once, of a user who has no home and may write nowhere, each with a child of its own."""
    folder = world.directory / "read-only"
    folder.mkdir()
    for file, name in ((world.directory / "plain.bundle", "list.bundle"), (root_of(world), "root.json")):
        (folder / name).write_bytes(file.read_bytes())
        (folder / name).chmod(0o444)
    folder.chmod(0o555)
    command = [sys.executable, "-c", ASK, str(folder / "list.bundle"), str(folder / "root.json"), ALLOWED]
    if os.geteuid() == 0:
        # Root may write whatever a mode says.
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    source = str(Path(blocklist_sdk.__file__).parents[1])
    environment: dict[str, str] = {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    environment |= {"PATH": os.environ["PATH"]}
    running = [
        subprocess.Popen(command, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [(process, *process.communicate(timeout=60)) for process in running]
    for process, out, err in ended:
        assert (process.returncode, out) == (0, "3007 []\n"), err
    folder.chmod(0o755)


def _make_again(world: World, argument: int, say: Say) -> None:
    world.recipient().bundle(world.directory / "killed.bundle", overrides=bool(argument % 2))


class MakeAgain:
    """Picklable."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, argument: int, say: Say) -> None:
        _make_again(self.world, argument, say)


def test_a_process_that_is_killed_leaves_the_bundle_before(world: World, tally: Callable[..., None]) -> None:
    path = world.directory / "killed.bundle"
    world.recipient().bundle(path)
    kills = 0
    with nursery(MakeAgain(world)) as children:
        for argument, delay_ms in enumerate(spread(40, 6)):
            kills += children.run(argument, Moment(delay_s=delay_ms / 1000)).was_killed
            assert opened(world, "killed.bundle").verify()
        assert children.run(1, Moment(step=0)).was_killed
    assert opened(world, "killed.bundle").verify()
    tally(kills=kills + 1)


def test_a_bundle_is_not_pickled(template: World) -> None:
    bundle = opened(template)
    for each in (bundle, bundle.overrides, bundle.screening(), bundle.changes(since=None)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(each)


def test_a_file_that_was_altered_since_it_was_opened(world: World) -> None:
    """Nobody does that who renames a new bundle into its place."""
    bundle = opened(world)
    path = world.directory / "plain.bundle"
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(data.index(b"SHA256SUMS") - 600)
        file.write(b"\xff")
    assert not bundle.verify()
    with pytest.raises((Malformed, Untrusted), match="altered since it was opened"):
        bundle.changes(since=None)


@pytest.mark.parametrize("change", ["another bundle", "cut off", "emptied"])
def test_a_file_that_was_written_over_answers_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Where it is mapped there are bytes now that nobody has verified, or none, which would end the process."""
    clock = Clock(datetime.now(UTC))
    clock.install(monkeypatch)
    path = world.directory / "plain.bundle"
    before, bundle = path.read_bytes(), opened(world)
    assert ALLOWED in bundle
    if change == "another bundle":
        path.write_bytes((world.directory / "own.bundle").read_bytes())
    else:
        os.truncate(path, 1000 if change == "cut off" else 0)
    clock.at_s += 1
    questions: list[Callable[[], object]] = [
        lambda: ALLOWED in bundle,
        lambda: bundle.check(ALLOWED),
        lambda: bundle.screen(pa.array([ALLOWED])),
        lambda: level_path_of(bundle, "sms"),
        bundle.status,
    ]
    for ask in questions:
        with pytest.raises(Untrusted, match=r"altered since it was opened.*in one rename"):
            ask()
    assert not bundle.verify()
    path.write_bytes(before)
    assert ALLOWED in bundle
    os.utime(path, (0, 0))
    clock.at_s += 1
    assert ALLOWED in bundle
    assert bundle.verify()


def test_a_newer_bundle_takes_its_place_without_harm(world: World) -> None:
    before = opened(world)
    world.recipient().bundle(world.directory / "plain.bundle", overrides=True)
    assert before.verify()
    assert opened(world, overrides=True).status().overrides == 2


def test_several_feeds_some_of_them_in_bundles(world: World) -> None:
    with world.recipient(feed=OTHER_FEED) as other:
        other.sync()
        both = Blocklists([opened(world), other])
        assert ALLOWED in both
        assert {verdict.feed for verdict in both.verdicts(ALLOWED).values()} == {FEED, OTHER_FEED}
        assert isinstance(both.sync()[FEED], InvalidInput)
        assert both.audit_record().heads == ()


def test_asynchronous_programs_open_one(template: World, tmp_path: Path) -> None:
    async def ask() -> None:
        async with AsyncBlocklist(template.recipient()) as blocklist:
            made = await blocklist.bundle(tmp_path / "async.bundle")
        async with await AsyncBlocklist.open_bundle(made.path, root=root_of(template), feed=FEED) as bundle:
            assert ALLOWED in bundle
            assert (await bundle.verify()).rows == made.rows
            with pytest.raises(InvalidInput):
                await bundle.sync()

    anyio.run(ask)


def test_settings_name_a_bundle(template: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own, root = template.directory / "own.bundle", root_of(template)
    settings = tmp_path / "blocklist.toml"
    settings.write_text(f'bundle = "{own}"\nroot = "{root}"\nregion = "ID"\nbundle_overrides = "count"\n')
    with Blocklist.from_settings(auth=None) as bundle:
        assert (bundle.status().bundle, "0812-7777-7777" in bundle) == (str(own), True)
    with Blocklist.from_settings(when_stale="raise", protected=[BLOCKED]) as bundle:
        assert BLOCKED not in bundle
    with Blocklist.from_settings(url=template.url, feed=FEED, cache_dir=tmp_path) as blocklist:
        assert internals_of(blocklist).store
    settings.write_text(f'bundle = "{own}"\nroot = "{root}"\nbundle_overrides = "yes"\n')
    with pytest.raises(InvalidInput, match="count or ignore"):
        Blocklist.from_settings()


def test_a_result_says_what_is_in_it(template: World, tmp_path: Path) -> None:
    made = template.recipient().bundle(tmp_path / "list.bundle", overrides=True)
    status = template.recipient().status()
    assert (made.rows, made.digest, made.as_of, made.expires) == (
        status.rows,
        status.digest,
        status.as_of,
        status.expires,
    )
    assert (made.protected, made.overrides, made.stale) == (1, 2, False)
    assert (made.own_protected, made.own_protected_left_out, made.overrides_left_out) == (0, 0, 0)
    assert made.bytes == (tmp_path / "list.bundle").stat().st_size
    assert json.loads(contents_of(tmp_path / "list.bundle")["bundle.json"]) == {"format": 1, "feed": FEED}
    assert multiprocessing.parent_process() is None
