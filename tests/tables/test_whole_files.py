"""Every row is read to the last one, however a file begins and wherever it comes from."""

import codecs
import gzip
import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO
from unittest.mock import patch

import pytest

from blocklist_sdk import Blocklist, Override
from blocklist_sdk.cli.exchange_session import records_in
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.screening.files import screen_file
from blocklist_sdk.tables.streams import HEAD_BYTES
from support.scale import scaled
from support.world import make_world

MARKS = {
    "none": (b"", "utf-8"),
    "UTF-8": (codecs.BOM_UTF8, "utf-8"),
    "UTF-16 LE": (codecs.BOM_UTF16_LE, "utf-16-le"),
    "UTF-16 BE": (codecs.BOM_UTF16_BE, "utf-16-be"),
    "UTF-32 LE": (codecs.BOM_UTF32_LE, "utf-32-le"),
}
SIZES = (*range(HEAD_BYTES - 4, HEAD_BYTES + 5), 2 * HEAD_BYTES + 4)
NOTE = "x" * 400

Source = Path | BinaryIO


@pytest.fixture(scope="module")
def blocklist(tmp_path_factory: pytest.TempPathFactory) -> Blocklist:
    recipient = make_world(tmp_path_factory.mktemp("world")).recipient()
    recipient.sync()
    return recipient


def file_of(size: int, mark: bytes, encoding: str) -> tuple[bytes, int]:
    """A generated list of this many bytes, or a few fewer where characters have several; and its number of rows."""
    unit = len("x".encode(encoding))
    length = (size - len(mark)) // unit
    header, rows = "number,decision,reason\n", 0
    text = header
    while len(text) < length - 600:
        text += f"+{6281200000000 + rows},block,{NOTE}\n"
        rows += 1
    last = f"+{6281200000000 + rows},block,"
    text += last + '"' + "y" * (length - len(text) - len(last) - 3) + '"\n'
    data = mark + text.encode(encoding)
    assert size - unit < len(data) <= size
    return data, rows + 1


def published(source: Source, _: Blocklist) -> list[int]:
    cells = read_cells(source)
    assert not cells.rejects
    return [int(text) for text in cells.columns["number"].to_pylist()]


def screened(source: Source, blocklist: Blocklist) -> list[int]:
    output = io.BytesIO()
    screen_file(blocklist.screening(), source, output)
    lines = output.getvalue().decode().splitlines()[1:]
    return [int(line.partition(",")[0]) for line in lines]


def imported(source: Source, blocklist: Blocklist) -> list[int]:
    kept: list[Override] = []
    with patch.object(Overrides, "_put", lambda _, *given: kept.extend(given)):
        assert not blocklist.overrides.import_file(source, author="a test").rejects
    return [override.number for override in kept]


def recorded(source: Source, _: Blocklist) -> list[int]:
    file = source if isinstance(source, Path) else Path("-")
    return [int(row["number"]) for _, row in records_in(file, ("number", "reason")) if isinstance(row, dict)]


@pytest.mark.parametrize("read", [published, screened, imported, recorded])
@pytest.mark.parametrize(
    ("packed", "is_stdin"), scaled([(False, False), (True, True)], long=[*itertools.product([False, True], repeat=2)])
)
@pytest.mark.parametrize("mark", MARKS)
def test_the_last_row_is_read_whatever_the_size_and_the_byte_order_mark(
    blocklist: Blocklist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mark: str,
    is_stdin: bool,
    packed: bool,
    read: Callable[[Source, Blocklist], list[int]],
) -> None:
    path = tmp_path / "list.csv"
    for size in SIZES:
        data, rows = file_of(size, *MARKS[mark])
        data = gzip.compress(data, 1) if packed else data
        source: Source = path
        if is_stdin:
            source = io.BytesIO(data)
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
        else:
            path.write_bytes(data)
        assert read(source, blocklist) == list(range(6281200000000, 6281200000000 + rows)), size
