"""Who may read what is written: modes and groups, under every umask, and never a moment in which others can."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, BlocklistError, InvalidInput, Publisher, StorageFailed, times
from blocklist_sdk.cli.settings import Settings
from blocklist_sdk.disk import check_owners, replaced, write_file
from blocklist_sdk.enforcement import enforce, ledger_path, open_sink
from blocklist_sdk.enforcement.sink import SinkUnavailable
from blocklist_sdk.enforcement.sinks.drop_directory import FileSink
from blocklist_sdk.exchange_server import Exchange
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.mirror import mirror
from blocklist_sdk.modes import PRIVATE, PUBLIC, SHARED, Access, access
from blocklist_sdk.recipient import write_metrics
from blocklist_sdk.tables.rejects import Reject, write_rejects
from blocklist_sdk.testing import make_batch
from support.command_line import Ran, assert_fails, run

PASSPHRASE = "correct horse battery"
FEED = "id-test"
LISTED = "0812-0000-0001"
UMASKS = pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
IS_ROOT = os.geteuid() == 0
GROUP = 54_321
STRANGER = 54_322
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may act as another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def under(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


def modes_in(folder: Path) -> dict[str, set[str]]:
    """The modes of files and of folders, the folder itself among them."""
    paths = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink() and path.name != "lock"]
    return {
        "files": {mode(path) for path in paths if path.is_file()},
        "folders": {mode(path) for path in paths if path.is_dir()},
    }


def publisher_in(folder: Path) -> Publisher:
    publisher = Publisher.init(folder, feeds={FEED: "messaging"}, passphrase=PASSPHRASE, region="ID")
    source = folder.with_name("list.txt")
    source.write_text("\n".join(f"0812-0000-{number:04}" for number in range(1, 21)) + "\nno number\n")
    publisher.release(FEED, source)
    return publisher


def recipient_of(publisher: Publisher, folder: Path, **options: object) -> Blocklist:
    return Blocklist.open(
        publisher.repository.as_uri(),
        feed=FEED,
        root=publisher.root,
        region="ID",
        cache_dir=folder / "cache",
        state_dir=folder / "state",
        **options,  # type: ignore[arg-type]
    )


def as_user(user: int, groups: list[int], act: Callable[[], object]) -> str:
    """What an action answers as another user, or the name of its error."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            said = str(act())
        except BaseException as error:  # noqa: BLE001 -- the parent judges it
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answers:
        said = answers.read()
    os.waitpid(child, 0)
    return said


@UMASKS
@pytest.mark.usefixtures("under")
def test_a_web_server_reads_the_repository_and_nothing_else_of_a_publisher(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    assert modes_in(publisher.repository) == {"files": {"0o644"}, "folders": {"0o755"}}
    assert mode(publisher.directory) == "0o755"
    assert mode(publisher.root) == "0o644"
    assert modes_in(publisher.directory / "keys") == {"files": {"0o600"}, "folders": {"0o700"}}
    assert modes_in(publisher.directory / "rejects") == {"files": {"0o600"}, "folders": {"0o700"}}
    publisher.add_feed("id-other")
    publisher.refresh()
    assert modes_in(publisher.repository) == {"files": {"0o644"}, "folders": {"0o755"}}


@UMASKS
@pytest.mark.usefixtures("under")
def test_a_web_server_reads_a_mirror_but_not_its_notes(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    copy = tmp_path / "new" / "mirror"
    mirror(publisher.repository.as_uri(), copy, root=publisher.root)
    assert mode(copy.parent) == mode(copy) == "0o755"
    for served in ("metadata", "targets"):
        assert modes_in(copy / served) == {"files": {"0o644"}, "folders": {"0o755"}}
    assert mode(copy / ".mirror") == "0o700"


@UMASKS
@pytest.mark.usefixtures("under")
def test_the_cache_is_for_a_group_and_the_state_for_nobody_else(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    drop, responses = tmp_path / "drop", tmp_path / "responses"
    responses.mkdir()
    with recipient_of(publisher, tmp_path) as blocklist:
        blocklist.sync()
        blocklist.overrides.allow(LISTED, reason="a hospital")
        blocklist.overrides.export_csv(tmp_path / "overrides.csv")
        sink = open_sink(drop.as_uri(), feed=FEED, responses=str(responses))
        enforce(blocklist, sink, name="hlr")
        sink.close()
        write_metrics(tmp_path / "blocklist.prom", blocklist.status())
        ledger = ledger_path(blocklist, "hlr")
    assert modes_in(tmp_path / "cache") == {"files": {"0o640"}, "folders": {"0o750"}}
    assert modes_in(tmp_path / "state") == {"files": {"0o600"}, "folders": {"0o700"}}
    assert ledger.is_relative_to(tmp_path / "state")
    assert mode(tmp_path / "overrides.csv") == "0o600"
    assert mode(tmp_path / "blocklist.prom") == "0o640"
    assert mode(drop) == "0o750"
    assert {mode(path) for path in drop.glob("*.csv")} == {"0o640"}
    assert {mode(path) for path in drop.glob(".*")} == {"0o600"}
    assert {mode(path) for path in (tmp_path / "cache").rglob("lock")} == {"0o600"}


@UMASKS
@pytest.mark.usefixtures("under")
def test_what_commands_write_is_for_a_group_and_rejects_are_private(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    settings: list[str | Path] = ["--url", publisher.repository.as_uri(), "--feed", FEED, "--root", publisher.root]
    settings += ["--cache-dir", tmp_path / "cache", "--region", "ID"]
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"number\n{LISTED}\n")
    for words in (
        ["sync", "--metrics-file", tmp_path / "all.prom"],
        ["status", "--metrics-file", tmp_path / "now.prom"],
        ["export", "-o", tmp_path / "all.csv"],
        ["export", "-o", tmp_path / "all.parquet"],
        ["screen", numbers, "-o", tmp_path / "screened.csv"],
        ["enforce", "--sink", (tmp_path / "drop").as_uri()],
        ["statement", "--sink", "default", "--month", f"{times.now():%Y-%m}", "-o", tmp_path / "month.html"],
    ):
        assert run(*words, *settings).code == 0, words
    written = [
        tmp_path / name for name in ("all.prom", "now.prom", "all.csv", "all.parquet", "screened.csv", "month.html")
    ]
    assert {path.name: mode(path) for path in written} == {path.name: "0o640" for path in written}
    write_rejects([Reject(1, "it contains letters", "GoPay")], tmp_path / "new" / "rejects.csv")
    assert modes_in(tmp_path / "new") == {"files": {"0o600"}, "folders": {"0o700"}}


@UMASKS
@pytest.mark.usefixtures("under")
def test_an_exchange_and_its_databases_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "exchange"
    with Exchange.init(folder, passphrase=PASSPHRASE, offline_passphrase="of root and targets"):
        private = {path: mode(path) for path in folder.iterdir() if path.name != "publisher"}
        assert {name.name for name in private} >= {"exchange.toml", "exchange.sqlite", "evidence"}
        assert [path for path in folder.iterdir() if path.name.startswith("exchange.sqlite-")]  # -wal and -shm
        assert {mode for path, mode in private.items() if path.is_file()} == {"0o600"}
        assert {mode for path, mode in private.items() if path.is_dir()} == {"0o700"}
    assert mode(folder) == "0o700"


def test_a_database_that_every_user_could_read_is_private_once_it_is_opened(tmp_path: Path) -> None:
    database = Database("sqlite:///own.sqlite", directory=tmp_path)
    database.create()
    database.close()
    (tmp_path / "own.sqlite").chmod(0o644)
    (tmp_path / "own.sqlite-wal").write_bytes(b"")
    Database("sqlite:///own.sqlite", directory=tmp_path).check()
    assert mode(tmp_path / "own.sqlite") == "0o600"


WATCHED = """
import os, stat, sys
from pathlib import Path

folder, umask = Path(sys.argv[1]), int(sys.argv[2], 8)
os.umask(umask)
seen, is_looking = set(), False

def look(event, arguments):
    global is_looking
    if is_looking or event not in ("open", "os.rename", "os.chmod", "os.chown", "os.mkdir", "sqlite3.connect"):
        return
    is_looking = True
    try:
        for name in ("publisher/keys", "state", "exchange"):
            for root, _, files in os.walk(folder / name):
                for file in files:
                    path = Path(root, file)
                    try:
                        found = stat.S_IMODE(path.lstat().st_mode)
                    except FileNotFoundError:
                        continue
                    is_served = "repository" in path.parts or file == "root.json"
                    if found & 0o077 and not path.is_symlink() and not is_served:
                        seen.add(f"{oct(found)} {path.relative_to(folder)}")
    finally:
        is_looking = False

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.disk import staged
from blocklist_sdk.enforcement import enforce, open_sink

sys.addaudithook(look)
if len(sys.argv) > 3:  # a proof that the hook sees what it is to see
    (folder / "state").mkdir()
    (folder / "state" / "secret").write_text("x")
    (folder / "state" / "secret").chmod(0o600)
publisher = Publisher.init(folder / "publisher", feeds={"id-test": "messaging"}, passphrase="correct horse battery")
(folder / "list.txt").write_text("+6281200000001\\n")
publisher.release("id-test", folder / "list.txt")
blocklist = Blocklist.open(publisher.repository.as_uri(), feed="id-test", root=publisher.root,
                           cache_dir=folder / "cache", state_dir=folder / "state")
blocklist.sync()
blocklist.overrides.block("+6281200000009", reason="seen")
sink = open_sink((folder / "drop").as_uri(), feed="id-test")
enforce(blocklist, sink, name="hlr")
print(*sorted(seen), sep="\\n")
"""


@pytest.mark.parametrize("umask", ["000", "077"])
def test_no_secret_can_be_read_at_any_moment(tmp_path: Path, umask: str) -> None:
    ran = subprocess.run([sys.executable, "-c", WATCHED, tmp_path, umask], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "", ran.stderr


def test_the_watch_sees_a_secret_that_could_be_read_for_a_moment(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WATCHED, str(tmp_path), "000", "leak"]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "0o666 state/secret" in ran.stdout


@pytest.mark.skipif(not IS_ROOT, reason="only root may give files to any group")
class TestGroups:
    def test_a_group_that_was_asked_for_reads_what_answers_take_and_nothing_more(self, open_folder: Path) -> None:
        publisher = publisher_in(open_folder / "publisher")
        with recipient_of(publisher, open_folder, group=GROUP) as blocklist:
            blocklist.sync()
            blocklist.overrides.allow(LISTED, reason="a hospital")
            sink = open_sink((open_folder / "drop").as_uri(), feed=FEED)
            enforce(blocklist, sink, name="hlr")
            sink.close()
        for folder in ("cache", "state"):
            paths = [path for path in (open_folder / folder).rglob("*") if "sinks" not in path.parts]
            assert {path.stat().st_gid for path in paths if path.name != "lock"} == {GROUP}
        assert modes_in(open_folder / "state" / FEED / "sinks") == {"files": {"0o600"}, "folders": {"0o700"}}

        def ask() -> object:
            with recipient_of(publisher, open_folder) as asked:
                return [asked.check(number).reason for number in (LISTED, "0812-0000-0002")]

        assert as_user(STRANGER, [GROUP], ask) == "['override-allow', 'listed']"
        assert as_user(STRANGER, [], ask).startswith("StorageFailed")

    def test_who_may_read_the_list_but_not_the_overrides_gets_no_answer(self, open_folder: Path) -> None:
        publisher = publisher_in(open_folder / "publisher")
        with recipient_of(publisher, open_folder, file_mode="0644") as blocklist:
            blocklist.sync()
        with recipient_of(publisher, open_folder) as blocklist:
            blocklist.overrides.allow(LISTED, reason="a hospital")

        def ask() -> object:
            with recipient_of(publisher, open_folder) as asked:
                return asked.check(LISTED).reason

        said = as_user(STRANGER, [], ask)
        assert said.startswith("StorageFailed")
        assert "BLOCKLIST_GROUP" in said

    def test_a_group_that_is_asked_for_later_gets_what_is_there(self, open_folder: Path) -> None:
        publisher = publisher_in(open_folder / "publisher")
        with recipient_of(publisher, open_folder) as blocklist:
            blocklist.sync()
            blocklist.overrides.allow(LISTED, reason="a hospital")
        for made in ("cache", "state"):  # these two are the administrator's from now on
            os.chown(open_folder / made, -1, GROUP)
            (open_folder / made).chmod(0o2750)
        with recipient_of(publisher, open_folder, group=GROUP) as blocklist:
            blocklist.sync()

        def ask() -> object:
            with recipient_of(publisher, open_folder) as asked:
                return asked.check(LISTED).reason

        assert as_user(STRANGER, [GROUP], ask) == "override-allow"

    def test_a_folder_keeps_its_group_and_its_setgid_bit(self, open_folder: Path) -> None:
        shared = open_folder / "shared"
        shared.mkdir()
        os.chown(shared, -1, GROUP)
        shared.chmod(0o2775)
        write_file(shared / "file", b"", access(group=GROUP + 9))
        access(group=GROUP + 9).make(shared / "inner" / "most")
        PUBLIC.make(shared)
        assert (mode(shared), shared.stat().st_gid) == ("0o2775", GROUP)
        for path in (shared / "file", shared / "inner", shared / "inner" / "most"):
            assert path.stat().st_gid == GROUP
        assert mode(shared / "inner" / "most") == "0o2750"

    def test_commands_give_files_to_a_group(self, open_folder: Path) -> None:
        publisher = publisher_in(open_folder / "publisher")
        settings: list[str | Path] = [
            *("--url", publisher.repository.as_uri(), "--feed", FEED, "--root", publisher.root),
            *("--cache-dir", open_folder / "cache", "--state-dir", open_folder / "state"),
        ]
        calls: list[tuple[dict[str, str], list[str | Path]]] = [
            ({"BLOCKLIST_GROUP": str(GROUP)}, ["sync", "--metrics-file", open_folder / "all.prom"]),
            ({}, ["export", "-o", open_folder / "all.csv", "--group", str(GROUP)]),
            ({}, ["enforce", "--sink", (open_folder / "drop").as_uri(), "--group", str(GROUP), "--file-mode", "0660"]),
        ]
        for environment, words in calls:
            assert run(*words, *settings, env=environment).code == 0
        for path in (open_folder / "all.prom", open_folder / "all.csv", open_folder / "cache" / FEED / "current.json"):
            assert (mode(path), path.stat().st_gid) == ("0o640", GROUP)
        (file,) = (open_folder / "drop").glob("*.csv")
        assert (mode(file), mode(file.parent), file.stat().st_gid, file.parent.stat().st_gid) == (
            *("0o660", "0o770"),
            *(GROUP, GROUP),
        )
        # The URL of the sink goes before the settings.
        second = f"{(open_folder / 'second').as_uri()}?file_mode=0644"
        assert run("enforce", "--sink", second, "--name", "second", *settings, "--file-mode", "0660").code == 0
        assert {mode(file) for file in (open_folder / "second").glob("*.csv")} == {"0o644"}


@needs_root
def test_a_group_of_others_is_refused_with_the_remedy(open_folder: Path) -> None:
    def wish() -> object:
        return access(group=GROUP)

    said = as_user(STRANGER, [], wish)
    assert said.startswith("InvalidInput")
    for word in (str(GROUP), "usermod", "SupplementaryGroups="):
        assert word in said
    assert as_user(STRANGER, [GROUP], wish).startswith("Access")


@pytest.mark.parametrize("group", ["no-such-group", -1, 2**32, True])
def test_a_group_that_does_not_exist_is_refused(group: str | int) -> None:
    with pytest.raises(InvalidInput):
        access(group=group)


@pytest.mark.parametrize("file_mode", ["rw-r-----", "0642", "0755", "0440", "4640", "", 0o600 | 0o002, True, -1])
def test_a_mode_that_cannot_be_used_is_refused(file_mode: str | int) -> None:
    with pytest.raises(InvalidInput, match="0640"):
        access(file_mode=file_mode)


def test_a_wrong_wish_is_a_wrong_setting(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    settings = ("--url", publisher.repository.as_uri(), "--feed", FEED, "--root", publisher.root)
    assert_fails(run("sync", *settings, "--file-mode", "0666", "--cache-dir", tmp_path / "c"), 2, "file_mode", "0640")
    assert_fails(run("sync", *settings, "--group", "no-such-group", "--cache-dir", tmp_path / "c"), 2, "no-such-group")


def test_who_only_asks_need_not_be_in_the_group(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    with recipient_of(publisher, tmp_path) as blocklist:
        blocklist.sync()
    settings = tmp_path / "blocklist.toml"
    settings.write_text(
        f'url = "{publisher.repository.as_uri()}"\nfeed = "{FEED}"\nroot = "publisher/root.json"\n'
        'cache_dir = "cache"\nstate_dir = "state"\nregion = "ID"\ngroup = "no-such-group"\n'
    )
    assert run("check", LISTED, "--config", settings).code == 1
    assert_fails(run("sync", "--config", settings), 2, "no-such-group")


# Planted links and predictable names


def test_a_temporary_file_has_a_name_that_nobody_can_guess(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replaced(tmp_path / "export.csv", SHARED) as temporary:
            names.add(temporary.name)
            assert mode(temporary) == "0o600"
            temporary.write_text("x")
    assert len(names) == 3
    assert not any(str(os.getpid()) == name.rpartition(".")[2] for name in names)
    assert mode(tmp_path / "export.csv") == "0o640"


def batch_into(drop: Path, responses: Path | None = None) -> FileSink:
    sink = FileSink(drop, feed=FEED, format="csv", responses=responses)
    sink.apply(make_batch("block", [6281200000001], feed=FEED))
    return sink


@pytest.mark.parametrize("feed", ["../escaped", "a/b", "", ".hidden", "A"])
def test_a_file_sink_takes_the_name_of_a_feed_and_no_path(tmp_path: Path, feed: str) -> None:
    with pytest.raises(InvalidInput):
        FileSink(tmp_path / "drop", feed=feed, format="csv")


@pytest.mark.parametrize(
    "name",
    [".blocklist-drop.sqlite", ".blocklist-drop.json", f".blocklist-drop.feed.{FEED}", ".blocklist-drop.sqlite-wal"],
)
@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing"])
def test_a_drop_directory_follows_no_planted_link(tmp_path: Path, name: str, is_there: bool) -> None:
    drop, responses, foreign = tmp_path / "drop", tmp_path / "responses", tmp_path / "foreign.sqlite"
    responses.mkdir()
    batch_into(drop, responses).close()
    if is_there:
        with sqlite3.connect(foreign) as database:
            database.execute("create table theirs (x)")
        database.close()
    before = foreign.read_bytes() if is_there else None
    (drop / name).unlink(missing_ok=True)
    (drop / name).symlink_to(foreign)
    with pytest.raises((BlocklistError, SinkUnavailable)):
        batch_into(drop, responses).close()
    assert (foreign.read_bytes() if foreign.exists() else None) == before


@needs_root
def test_a_drop_directory_that_may_only_be_read_is_a_matter_of_permission(open_folder: Path) -> None:
    drop = open_folder / "drop"
    batch_into(drop).close()
    drop.chmod(0o755)
    for path in drop.iterdir():
        path.chmod(0o644)

    def use() -> object:
        try:
            return batch_into(drop)
        except SinkUnavailable as error:
            return error.is_permitted

    assert as_user(STRANGER, [], use) == "False"


def test_a_response_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    drop, responses = tmp_path / "drop", tmp_path / "responses"
    responses.mkdir()
    sink = batch_into(drop, responses)
    (file,) = drop.glob("*.csv")
    secret = tmp_path / "secret"
    secret.write_text("number,outcome,detail\n+6281200000001,enforced,the secret\n# end count=1\n")
    (responses / f"{file.stem}.response.csv").symlink_to(secret)
    (outcome,) = sink.apply(make_batch("block", [6281200000001], feed=FEED))
    assert outcome.pending
    sink.close()


@needs_root
class TestStrangers:
    def test_their_links_and_folders_lead_nowhere(self, open_folder: Path) -> None:
        spool = open_folder / "spool"
        spool.mkdir()
        spool.chmod(0o1777)
        target = open_folder / "target"
        target.mkdir()
        (spool / "link").symlink_to(target)
        os.chown(spool / "link", STRANGER, STRANGER, follow_symlinks=False)
        (spool / "theirs").mkdir()
        os.chown(spool / "theirs", STRANGER, STRANGER)
        for path in (spool / "link", spool / "link" / "drop", spool / "theirs", spool / "theirs" / "drop"):
            with pytest.raises(InvalidInput, match="another user"):
                open_sink(path.as_uri(), feed=FEED)
        assert not list(target.iterdir())
        (spool / "own").mkdir()
        batch_into(spool / "own").close()

    def test_a_file_is_not_written_through_their_link(self, open_folder: Path) -> None:
        mine = open_folder / "mine"
        mine.write_text("mine")
        (open_folder / "export.csv").symlink_to(mine)
        with replaced(open_folder / "export.csv") as temporary:
            temporary.write_text("my own link is followed")
        os.chown(open_folder / "export.csv", STRANGER, STRANGER, follow_symlinks=False)
        with pytest.raises(InvalidInput, match="another user"), replaced(open_folder / "export.csv"):
            pass
        assert mine.read_text() == "my own link is followed"


def test_a_folder_in_which_everybody_may_write_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    check_owners(everybodys / "drop")
    assert not caplog.messages
    everybodys.chmod(0o777)
    check_owners(everybodys / "drop")
    assert f"chmod o-w {everybodys}" in caplog.text


def test_a_decision_of_a_program_without_the_group_does_not_shut_the_group_out(tmp_path: Path) -> None:
    publisher = publisher_in(tmp_path / "publisher")
    database = tmp_path / "state" / FEED / "recipient.sqlite"
    with recipient_of(publisher, tmp_path, file_mode="0640") as blocklist:
        blocklist.sync()
        blocklist.overrides.allow(LISTED, reason="a hospital")
        assert mode(database) == "0o640"
    with recipient_of(publisher, tmp_path) as blocklist:
        blocklist.overrides.allow("0812-0000-0002", reason="another")
        assert mode(database) == "0o640"
        database.chmod(0o644)  # as an earlier version made it
        blocklist.overrides.allow("0812-0000-0003", reason="another")
        assert mode(database) == "0o600"


def test_a_staged_file_that_was_replaced_by_a_link_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    make = tempfile.mkstemp

    def planted(*arguments: object, **options: object) -> tuple[int, str]:
        """A stranger is quick."""
        descriptor, name = make(*arguments, **options)  # type: ignore[call-overload]
        os.unlink(name)
        os.symlink(target, name)
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", planted)
    with pytest.raises(OSError, match="symbolic links"):
        write_file(tmp_path / "file", b"theirs")
    assert target.read_text() == "mine"


def test_a_mode_is_given_while_others_hold_the_database(tmp_path: Path) -> None:
    """To open and close a database's file would release the locks that this process has on it."""
    path = tmp_path / "own.sqlite"
    PRIVATE.prepare_database(path)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("create table t (x)")
    holder.execute("begin exclusive")
    PRIVATE.prepare_database(path)
    Access(0o640, is_explicit=True).give_database(path)
    ran: list[str] = []

    def other() -> None:
        code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('begin immediate')"
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        ran.append(done.stderr)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    holder.close()
    assert "locked" in ran[0]
    assert mode(path) == "0o640"


def test_a_damaged_right_is_an_error_that_says_so(tmp_path: Path) -> None:
    link = tmp_path / "recipient.sqlite"
    link.symlink_to(tmp_path / "elsewhere")
    publisher = publisher_in(tmp_path / "publisher")
    with recipient_of(publisher, tmp_path) as blocklist:
        blocklist.sync()
        (tmp_path / "state" / FEED / "recipient.sqlite").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StorageFailed):
            blocklist.overrides.allow(LISTED, reason="a hospital")
    assert not (tmp_path / "elsewhere").exists()


# Secrets that everybody can read, and secrets from the service manager


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "blocklist.toml"


def with_settings(file: Path, text: str, file_mode: int) -> Ran:
    """What a command says that reads a settings file of a mode, twice."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'url = "file:///nowhere"\nfeed = "{FEED}"\nroot = "root.json"\n{text}\n')
    file.chmod(file_mode)
    return run("check", LISTED, "--config", file)


@pytest.mark.parametrize(
    "secret", ['client_secret = "x"', 'exchange = "https://me:secret@exchange.example"'], ids=["secret", "url"]
)
def test_a_settings_file_with_a_secret_that_everybody_can_read_is_said(settings: Path, secret: str) -> None:
    ran = with_settings(settings, secret, 0o644)
    assert ran.code == 2  # there is no root.json: it is not refused for its mode
    assert ran.err.count("every user of this machine can read") == 1
    assert f"`chmod o= '{settings}'`" in ran.err
    subprocess.run(["sh", "-c", ran.err.partition("`")[2].partition("`")[0]], check=True)
    assert mode(settings) == "0o640"
    assert "every user" not in run("check", LISTED, "--config", settings).err


@pytest.mark.parametrize(
    ("text", "file_mode"), [('client_secret = "x"', 0o640), ('client_secret_file = "s"', 0o644), ("", 0o644)]
)
def test_nothing_is_said_of_other_settings_files(settings: Path, text: str, file_mode: int) -> None:
    assert "every user" not in with_settings(settings, text, file_mode).err


def test_a_passphrase_file_that_everybody_can_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o644)
    publisher_in(tmp_path / "publisher")
    ran = run("publish", "refresh", tmp_path / "publisher", "--passphrase-file", tmp_path / "passphrase")
    assert (ran.code, ran.err.count("every user of this machine can read")) == (0, 1)


def test_secrets_come_from_the_credentials_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, text in (("passphrase", PASSPHRASE), ("client_secret", "of the service")):
        (credentials / name).write_text(f"{text}\n")
    publisher_in(tmp_path / "publisher")
    refresh = ("publish", "refresh", tmp_path / "publisher")
    assert_fails(run(*refresh), 2, "passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert run(*refresh).code == 0
    given = Settings(client_id="telkomsel", exchange="https://exchange.example").complete()
    assert given.client_secret_file == str(credentials / "client_secret")
    # What is named nearer goes before it.
    assert Settings(client_key="own.pem").complete().client_secret_file is None
    (tmp_path / "blocklist.toml").write_text('client_secret = "of the file"\n')
    taken = Settings(config=str(tmp_path / "blocklist.toml")).complete()
    assert (taken.client_secret, taken.client_secret_file) == (None, str(credentials / "client_secret"))
    (credentials / "client_secret").rename(credentials / "client_key")
    assert Settings().complete().client_key == str(credentials / "client_key")
