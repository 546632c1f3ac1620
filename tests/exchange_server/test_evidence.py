"""Evidence: which files are accepted and refused, and that nothing is left of a refused one."""

import copy
import errno
import fcntl
import hashlib
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput, StorageFailed
from blocklist_sdk.exchange.models import EVIDENCE_BYTES_MAX
from blocklist_sdk.exchange_server.evidence.evidence_store import (
    EvidenceRefused,
    EvidenceStore,
    StoredEvidence,
    check_name,
)
from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media import MediaJudge
from blocklist_sdk.exchange_server.exchange import Exchange
from support.evidence_files import PNG_END, PNG_START, allowed_files, box, film, jpeg, png, png_header, png_of
from support.hostile_files import Hostile, hostile_files, png_with_a_large_picture
from support.scale import scaled
from support.talking import Talk

MOST = 2_000_000
JUDGE = MediaJudge()
ALLOWED = list(allowed_files())
ALLOWED_IDS = [row[0] for row in ALLOWED]
HOSTILE = list(hostile_files(most=MOST))


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "evidence", bytes_max=MOST)


def pieces(content: bytes, length: int = 1000) -> Iterator[bytes]:
    for at in range(0, len(content), length):
        yield content[at : at + length]


def everything_in(store: EvidenceStore) -> list[str]:
    return sorted(path.relative_to(store.directory).as_posix() for path in store.directory.rglob("*"))


@pytest.mark.parametrize(("name", "content", "media_type"), [row[1:] for row in ALLOWED], ids=ALLOWED_IDS)
def test_each_kind_of_evidence_is_kept_by_its_hash(
    store: EvidenceStore, name: str, content: bytes, media_type: str
) -> None:
    stored = store.receive(pieces(content, 7), name=name)
    sha256 = hashlib.sha256(content).hexdigest()
    assert stored == StoredEvidence(sha256=sha256, media_type=media_type, bytes=len(content), name=name)
    assert everything_in(store) == [sha256[:2], f"{sha256[:2]}/{sha256[2:]}"]
    with store.open(sha256) as file:
        assert file.read() == content
    assert store.verify(sha256)
    assert media_type in JUDGE.extensions


def test_every_media_type_is_among_the_allowed_files() -> None:
    assert {row[3] for row in ALLOWED} == JUDGE.extensions.keys()


@pytest.mark.parametrize("file", HOSTILE, ids=[file.id for file in HOSTILE])
def test_a_hostile_file_is_refused_with_its_reason_and_leaves_nothing(store: EvidenceStore, file: Hostile) -> None:
    with pytest.raises(EvidenceRefused) as refused:
        store.receive(pieces(file.content), name=file.name)
    assert file.reason in refused.value.reason
    assert (refused.value.status, refused.value.field) == (file.status, file.field)
    assert refused.value.reason in str(refused.value)
    assert everything_in(store) == []


def test_a_refusal_survives_pickle_and_copy() -> None:
    refused = EvidenceRefused("it is empty", field="body", status=422)
    for again in (pickle.loads(pickle.dumps(refused)), copy.copy(refused)):
        assert (str(again), again.reason, again.field, again.status) == (str(refused), "it is empty", "body", 422)


def test_there_are_many_hostile_files() -> None:
    assert len({file.id for file in HOSTILE}) == len(HOSTILE) >= 40


@pytest.mark.parametrize("content", [row[2] for row in ALLOWED], ids=ALLOWED_IDS)
def test_no_kind_of_evidence_may_be_cut_off_or_go_on(content: bytes) -> None:
    """A file is refused wherever it is cut, except where a whole file may end as well."""
    media_type = JUDGE.judge(content)
    taken = [end for end in range(len(content)) if is_taken(content[:end])]
    if media_type in ("audio/mpeg", "audio/AMR", "audio/AMR-WB", "audio/ogg"):
        assert len(taken) <= 2, "between frames"
    elif media_type == "application/pdf":
        assert taken == [len(content) - 1], "without the last line's end"
    elif b"MPF" in content:
        assert taken == [content.index(b"\xff\xd9") + 2], "after the first picture"
    else:
        assert taken == []
    for more in (b"\x01", b"<", b"PK\3\4", b"\x7fELF", b"MZ", b"#!/bin/sh\n", b"%PDF-1.7\n"):
        assert not is_taken(content + more)


def is_taken(content: bytes) -> bool:
    try:
        JUDGE.judge(content)
    except Unfit:
        return False
    return True


class LettersOnly:
    """A judge that takes plain text, which ours refuses."""

    extensions: Final = {"text/plain": "txt"}

    def judge(self, content: Content) -> str:
        if content[:4] != b"Dear":
            raise Unfit("it is not a letter", known=False)
        if content.rfind(b"http://") >= 0:
            raise Unfit("it has a link in it")
        return "text/plain"


@pytest.mark.parametrize(
    ("content", "reason", "status"), [(png_of(200), "not a letter", 415), (b"Dear http://x", "link", 422)]
)
def test_another_judge_decides_what_is_evidence(tmp_path: Path, content: bytes, reason: str, status: int) -> None:
    store = EvidenceStore(tmp_path / "evidence", bytes_max=MOST, judge=LettersOnly())
    assert store.receive([b"Dear Sir"], name="letter").media_type == "text/plain"
    kept = everything_in(store)
    with pytest.raises(EvidenceRefused, match=reason) as refused:
        store.receive([content], name="a")
    assert refused.value.status == status
    assert everything_in(store) == kept


def test_an_exchange_takes_a_judge_of_its_own(lite: Talk) -> None:
    report = lite.report()["id"]
    picture = lite.attach(report)
    with Exchange.open(lite.exchange.directory, passphrase=None, clock=lite.clock, judge=LettersOnly()) as exchange:
        lite.server.serve(exchange)
        letter = lite.attach(report, content=b"Dear Sir")
        assert letter["media_type"] == "text/plain"
        assert lite.get("anna", f"/v1/evidence/{letter['id']}").status_code == 409  # what it tells is unknown
        for file, name in ((letter, f"evidence-{letter['id']}.txt"), (picture, f"evidence-{picture['id']}.bin")):
            headers = lite.get("anna", f"/v1/evidence/{file['id']}?original=true").headers
            assert headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_reading_stops_with_the_first_byte_too_many(store: EvidenceStore) -> None:
    asked = []

    def endless() -> Iterator[bytes]:
        yield PNG_START
        while True:
            asked.append(1)
            yield bytes(100_000)

    with pytest.raises(EvidenceRefused, match="more than 2,000,000 bytes"):
        store.receive(endless(), name="a.png")
    assert len(asked) == MOST // 100_000
    assert everything_in(store) == []


def test_a_file_of_just_the_most_bytes_is_taken(store: EvidenceStore) -> None:
    assert store.receive(pieces(png_of(MOST)), name="a.png").bytes == MOST


def test_nothing_is_read_where_the_name_is_refused(store: EvidenceStore) -> None:
    def chunks() -> Iterator[bytes]:
        raise AssertionError("read")
        yield b""

    with pytest.raises(EvidenceRefused, match="a path"):
        store.receive(chunks(), name="../x")


def test_a_sender_who_goes_away_leaves_nothing(store: EvidenceStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield PNG_START
        raise ConnectionResetError(errno.ECONNRESET, "gone")

    with pytest.raises(ConnectionResetError):
        store.receive(chunks(), name="a.png")
    assert everything_in(store) == []


def test_a_file_may_come_piece_by_piece(store: EvidenceStore) -> None:
    with store.incoming(name="a.png") as incoming:
        for piece in pieces(png()):
            incoming.write(piece)
        stored = incoming.keep()
        with pytest.raises(InvalidInput, match="complete"):
            incoming.write(b"more")
    assert store.verify(stored.sha256)
    with store.incoming(name="b.png") as incoming:
        incoming.write(b"never kept")
    assert len(everything_in(store)) == 2


def test_equal_content_is_stored_once_under_both_names(store: EvidenceStore) -> None:
    first = store.receive([png()], name="a.png")
    second = store.receive([png()], name="b.png")
    assert (first.sha256, first.name, second.name) == (second.sha256, "a.png", "b.png")
    assert len(everything_in(store)) == 2


def test_only_the_owner_may_look(store: EvidenceStore) -> None:
    old = os.umask(0)
    try:
        sha256 = store.receive([png()], name="a.png").sha256
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (store.directory, *sorted(store.directory.rglob("*")))]
    assert modes == [0o700, 0o700, 0o600]
    assert not any(sha256[2:] in name for name in os.listdir(store.directory))


def test_a_directory_that_others_could_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir(mode=0o755)
    EvidenceStore(tmp_path / "evidence", bytes_max=MOST)
    assert stat.S_IMODE((tmp_path / "evidence").stat().st_mode) == 0o700


def test_a_damaged_file_is_noticed_and_healed_by_an_equal_one(store: EvidenceStore) -> None:
    sha256 = store.receive([png()], name="a.png").sha256
    path = store.directory / sha256[:2] / sha256[2:]
    path.write_bytes(png()[:-1] + b"x")
    assert not store.verify(sha256)
    store.receive([png()], name="a.png")
    assert store.verify(sha256)
    path.unlink()
    assert not store.verify(sha256)
    with pytest.raises(StorageFailed):
        store.open(sha256)


def test_a_link_in_the_place_of_a_file_is_replaced_and_never_followed(store: EvidenceStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sha256 = hashlib.sha256(png()).hexdigest()
    (store.directory / sha256[:2]).mkdir()
    (store.directory / sha256[:2] / sha256[2:]).symlink_to(victim)
    with pytest.raises(StorageFailed):
        store.open(sha256)
    with pytest.raises(StorageFailed):
        store.verify(sha256)
    store.receive([png()], name="a.png")
    assert victim.read_text() == "precious"
    assert store.verify(sha256)


def test_a_link_in_the_place_of_a_drawer_is_not_followed(store: EvidenceStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sha256 = hashlib.sha256(png()).hexdigest()
    (store.directory / sha256[:2]).symlink_to(elsewhere)
    with pytest.raises(StorageFailed):
        store.receive([png()], name="a.png")
    (elsewhere / sha256[2:]).write_bytes(png())
    with pytest.raises(StorageFailed):
        store.open(sha256)
    assert everything_in(store) == [sha256[:2]]


def test_a_pipe_in_the_place_of_a_file_does_not_block(store: EvidenceStore) -> None:
    sha256 = hashlib.sha256(png()).hexdigest()
    (store.directory / sha256[:2]).mkdir()
    os.mkfifo(store.directory / sha256[:2] / sha256[2:])
    with pytest.raises(StorageFailed):
        store.open(sha256)


@pytest.mark.parametrize("sha256", ["", "ab", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63, "a" * 64 + "\n", None])
def test_only_a_hash_opens_a_file(store: EvidenceStore, sha256: str) -> None:
    for question in (store.open, store.verify):
        with pytest.raises(InvalidInput, match="SHA-256"):
            question(sha256)


@pytest.mark.parametrize("most", [0, -1])
def test_a_store_takes_something(tmp_path: Path, most: int) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        EvidenceStore(tmp_path / "evidence", bytes_max=most)


def test_a_store_stands_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="not a directory"):
        EvidenceStore(tmp_path / "file", bytes_max=MOST)
    with pytest.raises(StorageFailed):
        EvidenceStore(tmp_path / "not" / "there", bytes_max=MOST)


RECEIVES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from typing import Final
from blocklist_sdk.exchange_server.evidence.evidence_store import EvidenceStore

def chunks():
    yield bytes(1000)
    print("begun", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    yield b""

EvidenceStore(Path(sys.argv[1]), bytes_max=1_000_000).receive(chunks(), name="a.png")
"""


def test_what_a_killed_process_left_is_swept_at_the_next_start(store: EvidenceStore) -> None:
    sha256 = store.receive([png()], name="a.png").sha256
    kept = everything_in(store)
    command = [sys.executable, "-c", RECEIVES_AND_DIES, str(store.directory)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"begun\n"), done.stderr
    assert len(everything_in(store)) == len(kept) + 1
    again = EvidenceStore(store.directory, bytes_max=MOST)
    assert everything_in(again) == kept
    assert again.verify(sha256)


def test_a_sweep_leaves_alone_what_is_being_received_and_what_is_not_its_own(store: EvidenceStore) -> None:
    (store.directory / ".incoming-link").symlink_to("/nowhere")
    (store.directory / ".incoming-directory").mkdir()
    with store.incoming(name="a.png") as incoming:
        incoming.write(png())
        EvidenceStore(store.directory, bytes_max=MOST)
        stored = incoming.keep()
    assert store.verify(stored.sha256)


def test_a_sweep_between_making_and_locking_a_file_costs_nothing(
    store: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sweeps = fcntl.flock, [1]

    def swept_first(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and sweeps:
            sweeps.pop()
            EvidenceStore(store.directory, bytes_max=MOST)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    assert store.verify(store.receive([png()], name="a.png").sha256)
    assert not sweeps


def test_many_may_send_the_same_and_different_files_at_once(store: EvidenceStore) -> None:
    contents = [png_of(1000 + number % 7) for number in range(60)]
    start = threading.Barrier(6)

    def send(content: bytes) -> str:
        return store.receive(pieces(content, 100), name="a.png").sha256

    with ThreadPoolExecutor(6, initializer=start.wait) as pool:
        received = list(pool.map(send, contents))
    assert received == [hashlib.sha256(content).hexdigest() for content in contents]
    files = [path for path in store.directory.rglob("*") if path.is_file()]
    assert len(files) == len(set(received)) == 7
    assert all(store.verify(sha256) for sha256 in received)


def test_a_disk_that_refuses_leaves_nothing(store: EvidenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for call in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(StorageFailed, match="No space left"):
                store.receive([png()], name="a.png")
        assert not [path for path in store.directory.rglob("*") if path.is_file()]
    assert store.verify(store.receive([png()], name="a.png").sha256)


def test_no_descriptor_is_left_open(store: EvidenceStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for file in HOSTILE[:40]:
        with pytest.raises(EvidenceRefused):
            store.receive([file.content], name=file.name)
    store.receive([png()], name="a.png")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_picture_that_unpacks_to_a_wall_is_a_small_file() -> None:
    """The bomb is real, and the limit is on the pixels: a large screen's picture passes."""
    bomb = png_with_a_large_picture(12_000)
    assert len(bomb) < 50_000
    with pytest.raises(Unfit, match="120 megapixels"):
        JUDGE.judge(bomb)
    assert JUDGE.judge(png_with_a_large_picture(8_000)) == "image/png"


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("a.png", "a.png"),
        ("  a b.png\u3000", "a b.png"),
        ("e\u0301.png", "é.png"),
        ("x" * 120, "x" * 120),
        ("10:20:30.png", "10:20:30.png"),
        (".hidden", ".hidden"),
        ("...", "..."),
        ("50% off.png", "50% off.png"),
    ],
)
def test_a_name_that_is_one_stays_as_it_is(given_name: str, name: str) -> None:
    assert check_name(given_name) == name


@given(st.text(max_size=200))
def test_whatever_the_name_it_is_refused_or_can_be_shown(name: str) -> None:
    try:
        checked = check_name(name)
    except EvidenceRefused as error:
        refused: EvidenceRefused | None = error
    else:
        refused = None
    if refused is not None:
        assert (refused.field, refused.status) == ("name", 422)
    else:
        assert 0 < len(checked) <= 120
        assert not set(checked) & set("/\\\0\r\n\u202e")
        assert Path("x", checked).parent == Path("x")
        assert check_name(checked) == checked
        checked.encode()


STARTS = st.sampled_from([row[2] for row in ALLOWED])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file with a few bytes changed, or a piece removed, added or repeated."""
    content = bytearray(draw(STARTS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 40)))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(bytes(content[at:end]) * 2), st.just(b"")))
        content[at:end] = piece
    return bytes(content)


@settings(
    max_examples=scaled(100, long=400),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=st.one_of(st.binary(max_size=300), damaged()), length=st.integers(1, 400))
def test_whatever_the_bytes_they_are_kept_whole_or_refused(store: EvidenceStore, content: bytes, length: int) -> None:
    before = everything_in(store)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        stored = store.receive(pieces(content, length), name="a")
    except EvidenceRefused as error:
        refused: EvidenceRefused | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.status in (415, 422)
        assert everything_in(store) == before
    else:
        assert (stored.sha256, stored.bytes) == (sha256, len(content))
        assert stored.media_type in JUDGE.extensions
        assert store.verify(sha256)
        assert set(everything_in(store)) == {*before, sha256[:2], f"{sha256[:2]}/{sha256[2:]}"}


BUSY = {
    "png": lambda: PNG_START + png_header() + bytes(EVIDENCE_BYTES_MAX - 100) + PNG_END,
    "fill": lambda: b"\xff\xd8" + b"\xff" * EVIDENCE_BYTES_MAX,
    "scan": lambda: jpeg()[:-2] + b"\xff\x00" * (EVIDENCE_BYTES_MAX // 2),
    "amr": lambda: b"#!AMR\n\x3c" + bytes(31) + b"\x7c" * EVIDENCE_BYTES_MAX,
    "boxes": lambda: film(b"isom", b"vide") + b"\0\0\0\x08free" * (EVIDENCE_BYTES_MAX // 8),
    "packed": lambda: paper(b"obj /ObjStm\nstream\nendstream\n" * (EVIDENCE_BYTES_MAX // 30)),
    "names": lambda: paper(b"/ObjStm" * (EVIDENCE_BYTES_MAX // 7)),
    "forms": lambda: paper(b"/XFA " * (EVIDENCE_BYTES_MAX // 5)),
    "numbers": lambda: paper(b"/XFA " + b"1" * EVIDENCE_BYTES_MAX),
    "tags": lambda: paper(b"\n<!doctype " * (EVIDENCE_BYTES_MAX // 11)),
    "spaces": lambda: paper(b"<svg" + b" " * EVIDENCE_BYTES_MAX),
    "zip ends": lambda: film(b"isom", b"vide", more=box(b"free", b"PK\5\6" * (EVIDENCE_BYTES_MAX // 4))),
    "frames": lambda: b"\xff\xf3\x14\xc0".ljust(24, b"\0") * (EVIDENCE_BYTES_MAX // 24),
}


def paper(content: bytes) -> bytes:
    return b"%PDF-1.7\n1 0 obj" + content + b"\nstartxref\n9\n%%EOF"


@pytest.mark.parametrize("made", BUSY.values(), ids=BUSY.keys())
def test_a_file_made_to_keep_the_judge_busy_does_not(made: Callable[[], bytes]) -> None:
    """Twenty seconds of processor time are far more than it takes; work that grows with the square would take hours."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "from blocklist_sdk.exchange_server.evidence.media import MediaJudge;"
        "MediaJudge().judge(sys.stdin.buffer.read())"
    )
    done = subprocess.run([sys.executable, "-c", program], input=made(), check=False, capture_output=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    assert not done.returncode or b"Unfit: " in done.stderr
