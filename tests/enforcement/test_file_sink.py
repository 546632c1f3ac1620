"""Drop directories: their files, which are always whole, and responses that come later."""

import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, OutcomeCode
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import HeldItem, Outcome, ReadableSink, Sink, SinkUnavailable, WarningSink
from blocklist_sdk.enforcement.sinks.drop_files import (
    COLUMNS,
    drop_response_name,
    read_drop_file,
    read_drop_response,
    write_drop_response,
)
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.testing import Item, MakeSink, SinkContract, make_batch, make_items
from support.ledgers import planned
from support.provisioning import answer_all, answering, files_in, replayed
from support.waiting import until

A, B, C = 6281200000001, 6281200000002, 6281200000003
NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)
OLD_S = 1_700_000_000


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    return tmp_path / "drop"


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    path = tmp_path / "responses"
    path.mkdir()
    return path


_OPEN: list[Sink] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def opened(drop: Path, query: str = "", **options: Any) -> Sink:
    """A sink that is closed when the test is over."""
    _OPEN.append(open_sink(f"{drop.as_uri()}{query}", feed="id-test", **options))
    return _OPEN[-1]


def kinds(outcomes: Iterable[Outcome]) -> list[str]:
    return ["pending" if outcome.pending else outcome.kind for outcome in outcomes]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
class TestFiles(SinkContract):
    @pytest.fixture
    def make_sink(self, drop: Path, format: str) -> MakeSink:
        self.drop = drop
        return lambda feed: open_sink(f"{drop.as_uri()}?format={format}", feed=feed)

    def held_items(self, feed: str) -> list[HeldItem]:
        return replayed(self.drop, feed)


class TestAnsweredFiles(SinkContract):
    refuses = 6281300000000

    @pytest.fixture
    def make_sink(self, drop: Path, responses: Path) -> Iterator[MakeSink]:
        def answer(number: int) -> Outcome:
            return Outcome("refused", "it is ours") if number == self.refuses else Outcome("enforced")

        with answering(drop, responses, answer):
            yield lambda feed: open_sink(drop.as_uri(), feed=feed, responses=responses, wait=60)


# Files


def test_a_file_says_what_it_is_and_how_much_is_in_it(drop: Path) -> None:
    sink = opened(drop)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    items = [Item(A, entries=(7, 9), until=end), Item(C, last=C + 6, scope=("messaging",), category="spam, or so")]
    assert kinds(sink.apply(make_batch("block", items, number_in_ledger=17, serial=42))) == ["enforced"] * 2
    (path,) = files_in(drop)
    data = path.read_bytes()
    digest = hashlib.sha256(data[: data.rindex(b"# end")]).hexdigest()
    assert data.decode().split("\n") == [
        "# blocklist-sdk format=1 feed=id-test serial=42 batch=17 operation=block count=2",
        ",".join(COLUMNS),
        "block,+6281200000001,+6281200000001,sms+voice,fraud,7 9,2027-01-01T00:00:00Z",
        'block,+6281200000003,+6281200000009,messaging,"spam, or so",1,',
        f"# end count=2 sha256={digest}",
        "",
    ]
    assert path.name == f"id-test.000000017.block.{digest[:8]}.csv"
    rows = list(csv.DictReader(line for line in data.decode().splitlines() if not line.startswith("#")))
    assert [row["category"] for row in rows] == ["fraud", "spam, or so"]


def test_a_json_file_says_the_same(drop: Path) -> None:
    sink = opened(drop, "?format=jsonl")
    sink.apply(make_batch("unblock", [Item(A, entries=(), category="own-decision")], number_in_ledger=3, serial=5))
    (path,) = files_in(drop)
    head, item, end = map(json.loads, path.read_text().splitlines())
    assert head == {
        "type": "blocklist-sdk",
        "format": 1,
        "feed": "id-test",
        "serial": 5,
        "batch": 3,
        "operation": "unblock",
        "count": 1,
    }
    assert item["type"] == "unblock"
    assert (item["number"], item["entries"], item["until"]) == ("+6281200000001", [], None)
    assert end["count"] == 1


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_file_is_read_as_it_was_written(drop: Path, format: str) -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    items = [Item(A, entries=(7, 9), until=end), Item(B, entries=(), category='a "b"; c'), Item(C, last=C + 6)]
    batch = make_batch("change", items, number_in_ledger=2)
    opened(drop, f"?format={format}").apply(batch)
    read = read_drop_file(files_in(drop)[0])
    assert read.changes == tuple(batch)
    assert (read.feed, read.number, read.operation, read.serial) == ("id-test", 2, "change", 1)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("text", ["a\nb", "a\r\n# end", "a\u2028b", "a\x85b", "\x00"])
def test_a_text_never_makes_a_line_of_its_own(drop: Path, format: str, text: str) -> None:
    opened(drop, f"?format={format}").apply(make_batch("block", [Item(A, category=text)]))
    (change,) = read_drop_file(files_in(drop)[0]).changes
    assert change.category.split() == text.replace("\x00", "").replace("\u2028", " ").replace("\x85", " ").split()


def test_files_sort_in_the_order_in_which_they_are_to_be_done(drop: Path) -> None:
    sink = opened(drop)
    for number in (8, 9, 10, 999, 1000):
        sink.apply(make_batch("block", [A + number], number_in_ledger=number))
    assert [read_drop_file(path).number for path in files_in(drop)] == [8, 9, 10, 999, 1000]


def test_the_same_batch_again_is_the_same_file(drop: Path) -> None:
    sink, batch = opened(drop), make_batch("block", [A])
    sink.apply(batch)
    before = files_in(drop)[0].read_bytes()
    opened(drop).apply(batch)
    assert [path.read_bytes() for path in files_in(drop)] == [before]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_file_that_was_cut_or_changed_is_refused(drop: Path, tmp_path: Path, format: str) -> None:
    opened(drop, f"?format={format}").apply(make_batch("block", [A, B, C]))
    data = files_in(drop)[0].read_bytes()
    broken = tmp_path / "broken"
    for length in range(len(data)):
        broken.write_bytes(data[:length])
        with pytest.raises(Malformed):
            read_drop_file(broken)
    for place in range(data.rindex(b"end")):
        broken.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(Malformed):
            read_drop_file(broken)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"# end count=0 sha256=\n", b"[]\n", b'{"type":"end"}\n', b"\xff\n", b"[" * 99_999]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "else").write_bytes(data)
    with pytest.raises(Malformed):
        read_drop_file(tmp_path / "else")


def test_files_are_readable_for_a_group_and_always_whole(drop: Path) -> None:
    opened(drop).apply(make_batch("block", [A]))
    assert stat.S_IMODE(files_in(drop)[0].stat().st_mode) == 0o640
    assert [name for name in os.listdir(drop) if not name.startswith(".")] == [files_in(drop)[0].name]


@pytest.mark.timing
def test_a_writer_that_is_killed_leaves_whole_files_only(drop: Path) -> None:
    program = (
        "import itertools, sys\n"
        "from blocklist_sdk.enforcement.registry import open_sink\n"
        "from blocklist_sdk.testing import make_batch\n"
        "sink = open_sink(sys.argv[1], feed='id-test')\n"
        "print('ready', flush=True)\n"
        "for n in itertools.count(1):\n"
        "    sink.apply(make_batch('block', range(6281200000000, 6281200003000), number_in_ledger=n))\n"
    )
    drop.mkdir()
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", program, drop.as_uri()], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        until(lambda: files_in(drop) != [])
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.3)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert all(len(read_drop_file(path).changes) == 3000 for path in files_in(drop))
        for path in files_in(drop):
            path.unlink()


def test_it_cannot_be_read_back(drop: Path) -> None:
    assert not isinstance(opened(drop), ReadableSink)


# Directories


def test_a_directory_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("…")
    with pytest.raises(InvalidInput, match="has other content"):
        opened(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_others_may_keep_files_in_the_directory(drop: Path) -> None:
    opened(drop).apply(make_batch("block", [A]))
    (drop / "processed").mkdir()
    files_in(drop)[0].rename(drop / "processed" / "1.csv")
    opened(drop).apply(make_batch("block", [B], number_in_ledger=2))
    assert len(files_in(drop)) == 1


def test_a_directory_whose_parent_is_not_there_is_a_typing_error(tmp_path: Path) -> None:
    from blocklist_sdk.errors import StorageFailed

    with pytest.raises(StorageFailed, match="No such file"):
        opened(tmp_path / "spol" / "drop")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?format=xml", "format must be csv or jsonl, not 'xml'"),
        ("?colour=red", "does not take the option 'colour'"),
        ("?wait=5", "wait needs responses"),
        ("?responses=/nowhere/at/all", "is not a directory"),
        ("?responses=.&wait=soon", "wait must be seconds"),
        ("?responses=.&wait=-1", "wait must be seconds"),
        ("?responses=.&wait=nan", "wait must be seconds"),
    ],
)
def test_options_that_cannot_be_used_are_refused(drop: Path, query: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        opened(drop, query)


@pytest.mark.parametrize("url", ["file:", "file://host/drop", "file:///drop#x"])
def test_urls_that_name_no_directory_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="must be like file:///var/spool/blocks"):
        open_sink(url, feed="id-test")


def test_a_new_ledger_does_not_write_before_the_files_of_an_earlier_one(drop: Path) -> None:
    opened(drop).apply(make_batch("block", [A], number_in_ledger=500))
    anew = opened(drop)
    with pytest.raises(SinkUnavailable, match="up to batch 500"):
        anew.apply(make_batch("unblock", [A], number_in_ledger=1))
    files_in(drop)[0].unlink()
    assert kinds(opened(drop).apply(make_batch("unblock", [A], number_in_ledger=1))) == ["reversed"]


def test_a_directory_that_is_gone_is_an_unavailable_sink(drop: Path) -> None:
    sink = opened(drop)
    sink.apply(make_batch("block", [A], number_in_ledger=1))
    shutil.rmtree(drop)
    with pytest.raises(SinkUnavailable, match="cannot be used"):
        sink.apply(make_batch("block", [A], number_in_ledger=2))


@pytest.mark.parametrize("with_responses", [False, True])
def test_to_open_makes_nothing(drop: Path, responses: Path, with_responses: bool) -> None:
    sink = opened(drop, responses=responses if with_responses else None)
    assert not drop.exists()
    sink.close()
    assert not drop.exists()
    (drop.parent / "other").mkdir()
    opened(drop.parent / "other").close()
    assert list((drop.parent / "other").iterdir()) == []


# Responses


def test_changes_are_pending_until_their_response_comes_and_are_written_once(drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses)
    assert kinds(sink.apply(make_batch("block", [A, B], number_in_ledger=1))) == ["pending"] * 2
    # Another run, before the response: only the new change is written.
    assert kinds(sink.apply(make_batch("block", [A, B, C], number_in_ledger=2))) == ["pending"] * 3
    assert [[change.number for change in read_drop_file(path).changes] for path in files_in(drop)] == [[A, B], [C]]
    first = files_in(drop)[0]
    write_drop_response(
        responses / drop_response_name(first.name), {A: Outcome("enforced"), B: Outcome("recycled", "since\u2028May")}
    )
    sink.close()
    # The next night.
    sink = opened(drop, responses=responses)
    outcomes = sink.apply(make_batch("block", [A, B, C], number_in_ledger=3))
    assert kinds(outcomes) == ["enforced", "recycled", "pending"]
    assert outcomes[1].detail == "since May"
    assert len(files_in(drop)) == 2


def test_a_response_counts_after_its_file_was_picked_up(drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses)
    sink.apply(make_batch("block", [A]))
    answer_all(drop, responses)
    files_in(drop)[0].unlink()
    assert kinds(sink.apply(make_batch("block", [A], number_in_ledger=2))) == ["enforced"]


def test_an_unblock_that_comes_before_the_response_goes_at_once(drop: Path, responses: Path, tmp_path: Path) -> None:
    """A pending change is in doubt in the ledger, so it is lifted, and a later response to the block does not count."""
    sink = opened(drop, responses=responses)
    with Ledger.open(tmp_path / "ledger", feed="id-test") as ledger:
        batch = ledger.begin(planned("block", make_items([A])), serial=1, published=NOW, at=NOW)
        ledger.finish(batch, sink.apply(batch), at=NOW)
        assert ledger.state().whole().status.tolist() == [ItemStatus.IN_DOUBT]
        batch = ledger.begin(planned("unblock", make_items([A])), serial=2, published=NOW, at=NOW)
        ledger.finish(batch, sink.apply(batch), at=NOW)
        assert ledger.state().whole().status.tolist() == [ItemStatus.IN_DOUBT]
        answer_all(drop, responses)
        assert replayed(drop, "id-test") == []
        batch = ledger.begin(planned("unblock", make_items([A])), serial=2, published=NOW, at=NOW)
        ledger.finish(batch, sink.apply(batch), at=NOW)
        assert len(ledger.state().whole().items) == 0


def test_what_is_blocked_again_later_is_written_again(drop: Path, responses: Path) -> None:
    """An old response to the same change does not count."""
    sink = opened(drop, responses=responses)
    for number, operation in enumerate(("block", "block", "unblock", "unblock", "block"), 1):
        sink.apply(make_batch(operation, [A], number_in_ledger=number))  # type: ignore[arg-type]
        if number != 5:
            answer_all(drop, responses)
    assert [read_drop_file(path).operation for path in files_in(drop)] == ["block", "unblock", "block"]
    assert kinds(sink.apply(make_batch("block", [A], number_in_ledger=6))) == ["pending"]


def test_a_run_that_is_killed_finds_the_response_again(drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses)
    sink.apply(make_batch("block", [A]))
    answer_all(drop, responses)
    assert kinds(sink.apply(make_batch("block", [A], number_in_ledger=2))) == ["enforced"]
    # The sink was not closed, and no outcome written down: the changes come again in another batch.
    database = sqlite3.connect(drop / ".blocklist-drop.sqlite")
    assert database.execute("select count(*) from waiting").fetchall() == [(1,)]
    database.close()
    assert len(files_in(drop)) == 1


def wrote_after(drop: Path, number: int) -> bool:
    return any(read_drop_file(path).number > number for path in files_in(drop)[-1:])


@pytest.mark.timing
def test_the_files_are_right_in_the_end_whenever_a_run_is_killed(drop: Path, responses: Path) -> None:
    program = (
        "import itertools, random, sys\n"
        "from blocklist_sdk.enforcement.registry import open_sink\n"
        "from blocklist_sdk.testing import make_batch\n"
        "sink = open_sink(sys.argv[1], feed='id-test', responses=sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "for n in itertools.count(int(sys.argv[3])):\n"
        "    numbers = random.sample(range(6281200000000, 6281200000300), 100)\n"
        "    sink.apply(make_batch(random.choice(['block', 'unblock']), numbers, number_in_ledger=n))\n"
    )
    last = 0
    for _ in range(8):
        command = [sys.executable, "-c", program, drop.as_uri(), str(responses), str(last + 1)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert run.stdout
        run.stdout.readline()
        until(partial(wrote_after, drop, last))
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.2)
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        answer_all(drop, responses)
        last = read_drop_file(files_in(drop)[-1]).number
    sink = opened(drop, responses=responses)
    numbers = list(range(6281200000000, 6281200000300))
    for operation, share in (("unblock", numbers[150:]), ("block", numbers[:150])):
        left = share
        while left:
            last += 1
            outcomes = sink.apply(make_batch(operation, left, number_in_ledger=last))  # type: ignore[arg-type]
            left = [number for number, outcome in zip(left, outcomes, strict=True) if outcome.pending]
            answer_all(drop, responses)
    assert {held.number for held in replayed(drop, "id-test")} == set(numbers[:150])


def test_a_change_that_failed_is_written_again(drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses)
    sink.apply(make_batch("block", [A]))
    answer_all(drop, responses, lambda _: Outcome("failed", "subscriber locked"))
    (outcome,) = sink.apply(make_batch("block", [A], number_in_ledger=2))
    assert (outcome.kind, outcome.detail, outcome.pending) == ("failed", "subscriber locked", False)
    assert kinds(sink.apply(make_batch("block", [A], number_in_ledger=3))) == ["pending"]
    assert len(files_in(drop)) == 2


def test_the_sink_waits_for_a_response(drop: Path, responses: Path) -> None:
    sink = opened(drop, f"?wait=60&responses={responses}")
    with answering(drop, responses):
        assert kinds(sink.apply(make_batch("block", [A, B]))) == ["enforced"] * 2
        assert kinds(sink.apply(make_batch("unblock", [A], number_in_ledger=2))) == ["reversed"]


def test_the_sink_waits_no_longer_than_asked(drop: Path, responses: Path) -> None:
    assert kinds(opened(drop, responses=responses, wait=0.2).apply(make_batch("block", [A]))) == ["pending"]


def sent(drop: Path, responses: Path) -> tuple[Sink, Path]:
    """A sink that waits for a response about A and B, and the path of the response."""
    sink = opened(drop, responses=responses)
    sink.apply(make_batch("block", [A, B]))
    return sink, responses / drop_response_name(files_in(drop)[0].name)


def again(sink: Sink) -> list[str]:
    return kinds(sink.apply(make_batch("block", [A, B], number_in_ledger=2)))


HEAD = "number,outcome,detail\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEAD}+{A},enforced,\n+{B},refused,ours\n", ["enforced", "refused"]),
        (f"\ufeffNumber,Outcome,Detail\r\n+{A},Enforced,\r\n{B},REFUSED,\r\n", ["enforced", "refused"]),
        (f"outcome,number\nenforced,+{A}\nenforced,+{B}\n", ["enforced", "enforced"]),
        (f"{HEAD}+{A},failed,\n+{A},enforced,\n+{B},enforced,\n+{C},enforced,\n", ["enforced", "enforced"]),
        (f"{HEAD}+{A},enforced,\n# end count=1\n", ["enforced", "failed"]),
        (f"{HEAD}+{A},OK,\n+{B},reversed,\n", ["failed", "failed"]),
        # Still on their way, or broken.
        ("", ["pending", "pending"]),
        (HEAD, ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\n", ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\n+{B},enf", ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\n+{B},enforced,\n# end count=3\n", ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\n+{B},enforced,\n# end count=many\n", ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\nfoo,enforced,\n", ["pending", "pending"]),
        (f"{HEAD}+{A},enforced,\n+{'6' * 16},enforced,\n", ["pending", "pending"]),
        (f'{HEAD}+{A},enforced,"\n+{B},enforced,\n', ["pending", "pending"]),
        (f"msisdn;result\n{A};OK\n", ["pending", "pending"]),
    ],
)
def test_responses_are_taken_once_they_are_whole(drop: Path, responses: Path, text: str, expected: list[str]) -> None:
    sink, path = sent(drop, responses)
    path.write_text(text, encoding="utf-8", newline="")
    assert again(sink) == expected


def test_a_response_that_does_not_grow_any_more_is_whole(drop: Path, responses: Path) -> None:
    sink, path = sent(drop, responses)
    path.write_text(f"{HEAD}+{A},enforced,\n")
    assert again(sink) == ["pending", "pending"]
    os.utime(path, (OLD_S, OLD_S))
    outcomes = sink.apply(make_batch("block", [A, B], number_in_ledger=3))
    assert kinds(outcomes) == ["enforced", "failed"]
    assert outcomes[1].detail == "the response does not mention it"


def test_a_response_that_cannot_be_read_is_a_warning_until_it_is_corrected(drop: Path, responses: Path) -> None:
    sink, path = sent(drop, responses)
    assert isinstance(sink, WarningSink)
    path.write_bytes(b"\xff\xfe\x00")
    again(sink)
    assert not sink.warnings()  # it may still be on its way
    os.utime(path, (OLD_S, OLD_S))
    for _ in range(2):
        again(sink)
        (warning,) = sink.warnings()
        assert warning.kind == "unreadable response"
        assert f"{path} cannot be read" in warning.message
    path.write_text(f"{HEAD}+{A},enforced,\n+{B},enforced,\n", encoding="utf-8")
    assert again(sink) == ["enforced", "enforced"]
    assert not sink.warnings()


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_response_without_a_line_is_not_about_any_change(drop: Path, responses: Path, is_settled: bool) -> None:
    sink, path = sent(drop, responses)
    assert isinstance(sink, WarningSink)
    path.write_text(HEAD, encoding="utf-8")
    if is_settled:
        os.utime(path, (OLD_S, OLD_S))
    for number in range(2, 9):
        outcomes = sink.apply(make_batch("block", [A, B], number_in_ledger=number))
        assert kinds(outcomes) == ["pending", "pending"]
        assert ["has the outcome of no change" in each.message for each in sink.warnings()] == [True] * is_settled
    path.write_text(f"{HEAD}+{A},enforced,\n+{B},enforced,\n", encoding="utf-8")
    assert kinds(sink.apply(make_batch("block", [A, B], number_in_ledger=9))) == ["enforced", "enforced"]
    assert not sink.warnings()


def test_a_response_that_cannot_be_read_is_logged_once(
    drop: Path, responses: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink, path = sent(drop, responses)
    path.write_bytes(b"\xff\xfe\x00")
    os.utime(path, (OLD_S, OLD_S))
    for _ in range(3):
        assert again(sink) == ["pending", "pending"]
    assert caplog.text.count("cannot be read") == 1


def test_only_a_regular_file_is_a_response(drop: Path, responses: Path) -> None:
    sink, path = sent(drop, responses)
    os.mkfifo(path)
    assert again(sink) == ["pending", "pending"]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert again(sink) == ["pending", "pending"]


def test_a_response_of_an_earlier_ledger_is_not_used(drop: Path, responses: Path) -> None:
    sink, _ = sent(drop, responses)
    answer_all(drop, responses)
    assert again(sink) == ["enforced", "enforced"]
    sink.close()
    files_in(drop)[0].unlink()
    anew = opened(drop, responses=responses)
    with pytest.raises(SinkUnavailable, match="Move the old responses away"):
        anew.apply(make_batch("block", [A, B]))


def test_the_database_holds_no_more_than_what_waits(drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses, wait=60)
    with answering(drop, responses):
        for number in range(1, 4):
            sink.apply(make_batch("block", range(A, A + 100), number_in_ledger=number))
    sink.close()
    database = sqlite3.connect(drop / ".blocklist-drop.sqlite")
    assert database.execute("select count(*) from waiting").fetchall() == [(0,)]
    database.close()


def test_a_damaged_database_is_an_error_that_says_what_to_do(drop: Path, responses: Path) -> None:
    opened(drop, responses=responses).apply(make_batch("block", [A]))
    (drop / ".blocklist-drop.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(InvalidInput, match="remove it"):
        opened(drop, responses=responses)


def test_a_response_is_read_as_it_was_written(tmp_path: Path) -> None:
    outcomes = {A: Outcome("enforced"), B: Outcome("refused", 'a "quoted", reason')}
    write_drop_response(tmp_path / "answer", outcomes)
    read = read_drop_response(tmp_path / "answer")
    assert (read.outcomes, read.is_whole) == (outcomes, True)


def test_a_pending_change_is_in_doubt_in_the_ledger(tmp_path: Path, drop: Path, responses: Path) -> None:
    sink = opened(drop, responses=responses)
    with Ledger.open(tmp_path / "ledger", feed="id-test") as ledger:
        batch = ledger.begin(planned("block", make_items([A, B])), serial=1, published=NOW, at=NOW)
        record = ledger.finish(batch, sink.apply(batch), at=NOW + timedelta(seconds=1))
        assert record.outcome.tolist() == [OutcomeCode.IN_DOUBT] * 2
        answer_all(drop, responses)
        batch = ledger.begin(planned("block", make_items([A, B])), serial=1, published=NOW, at=NOW)
        ledger.finish(batch, sink.apply(batch), at=NOW)
        assert ledger.state().whole().status.tolist() == [ItemStatus.HELD] * 2
