"""What is exported can be published again, whatever region it is read in."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import phonenumbers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk import InvalidInput, Publisher
from blocklist_sdk.cli.export import write_table
from blocklist_sdk.numbers import check_e164, decide_form, normalize_column
from blocklist_sdk.numbers.reference import number_of
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.next_release import EntryDefaults
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.arrow import SCHEMA
from support.command_line import run
from support.scale import scaled

DEFAULTS = EntryDefaults(level="advisory", category="none of these", issuer="nobody", scope="data")

EXAMPLES = sorted(
    {
        int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in (0, 1)
        if (number := phonenumbers.example_number_for_type(region, kind))
    }
)
"""libphonenumber's examples of every country, none of them anybody's."""


@st.composite
def numbers(draw: st.DrawFn) -> int:
    """A number of any country, near an example."""
    example = draw(st.sampled_from(EXAMPLES))
    number = example - example % 1000 + draw(st.integers(0, 999))
    return number if read(number) == number else example


def read(number: int) -> int | None:
    try:
        return number_of(f"+{number}")
    except ValueError:
        return None


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs", "S")), min_size=1, max_size=12).filter(
    lambda word: word.strip() == word and word.isprintable()
)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A release as `Blocklist.to_arrow` returns it."""
    rows: list[dict[str, Any]] = []
    for entry in range(1, draw(st.integers(1, 12)) + 1):
        number = draw(numbers())
        last = draw(st.none() | st.integers(number + 1, number - number % 1000 + 999)) if number % 1000 < 999 else None
        since = draw(MOMENTS)
        until = draw(st.none() | MOMENTS.filter(since.__lt__))
        scope = "+".join(sorted(draw(st.sets(st.sampled_from(SCOPES), min_size=1))))
        row: dict[str, Any] = {
            "number": number,
            "last": last if last is None or read(last) == last else None,
            "entry": entry,
        }
        row |= {"level": draw(st.sampled_from(["block", "advisory"])), "category": draw(WORDS), "issuer": draw(WORDS)}
        rows.append(row | {"scope": scope, "since": since, "until": until})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def as_csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    write_table(table, "csv", sink)
    return sink.getvalue()


def as_jsonl(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    write_table(table, "jsonl", sink)
    return sink.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(("name", "write"), [("l.csv", as_csv), ("l.jsonl", as_jsonl), ("l.parquet", as_parquet)])
@given(table=tables(), region=st.sampled_from(["ID", "US", "SG", "DE", None]))
@settings(max_examples=scaled(12, long=40))
def test_an_export_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    write: Callable[[pa.Table], bytes],
    table: pa.Table,
    region: str | None,
) -> None:
    path = tmp_path_factory.mktemp("export") / name
    path.write_bytes(write(table))
    rows, rejects, decision = read_rows(read_cells(path), region=region, defaults=DEFAULTS)
    assert (rejects, decision.form) == ([], "international")
    found = [
        {
            "number": number,
            "last": None if last == number else last,
            "entry": entry,
            "level": level,
            "category": category,
            "issuer": issuer,
            "scope": scope,
            "since": since,
        }
        for number, last, entry, level, category, issuer, scope, since in zip(
            rows.number.tolist(),
            rows.last.tolist(),
            rows.entry.tolist() if rows.entry is not None else [],
            *(texts(column) for column in (rows.level, rows.category, rows.issuer, rows.scope)),
            rows.since.tolist() if rows.since is not None else [],
            strict=True,
        )
    ]
    wanted = [
        {key: value for key, value in row.items() if key != "until"} | {"since": int(row["since"].timestamp()) * 1000}
        for row in table.to_pylist()
    ]
    assert found == wanted


def texts(column: Any) -> list[str]:
    return [column.values[code] for code in column.codes.tolist()]


@given(st.lists(numbers(), min_size=1, max_size=30), st.sampled_from(["ID", "US", "DE"]))
def test_an_exported_column_is_declared_international(listed: list[int], region: str) -> None:
    column = pa.array([str(number) for number in listed])
    assert normalize_column(column, region=region, form="international").to_pylist() == list(map(check_e164, listed))
    if decide_form(column, region=region).form == "international":
        assert normalize_column(column, region=region).to_pylist() == listed


@pytest.mark.parametrize("numbers", [["081234567890"], [f"8572345{i:04d}" for i in range(30)]])
def test_national_numbers_under_the_header_of_an_export_are_refused(tmp_path: Path, numbers: list[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(",".join(SCHEMA.names) + "\n" + "".join(f"{number},,,,,,,,\n" for number in numbers))
    cells = read_cells(path)
    assert cells.is_release
    with pytest.raises(InvalidInput, match=r"national form of ID.*--form"):
        read_rows(cells, region="ID", defaults=DEFAULTS)
    rows, rejects, _ = read_rows(cells, region="ID", defaults=DEFAULTS, form="national")
    assert (len(rows.number), rejects) == (len(numbers), [])


def test_by_the_command_line(tmp_path: Path) -> None:
    """Foreign numbers, a range, every column; the same digest in the end."""
    publisher = Publisher.init(
        tmp_path / "a", feeds=["id-all", "id-copy"], passphrase="generated for a test", region="ID"
    )
    source = tmp_path / "list.csv"
    source.write_text(
        "number,last,level,category,issuer,scope,since,until\n"
        "+855 12 345 678,,block,fraud,ministry,sms+voice,2026-01-01T00:00:00Z,2030-01-01T00:00:00Z\n"
        '+819012345678,,advisory,"spam, mostly",ministry,messaging,2026-01-02T00:00:00Z,\n'
        "+6281200000000,+6281200009999,block,fraud,ministry,voice,2026-01-03T00:00:00Z,\n"
    )
    publisher.release("id-all", source)
    where: list[str | Path] = [
        "--url",
        publisher.repository.as_uri(),
        "--root",
        publisher.root,
        "--cache-dir",
        tmp_path / "cache",
    ]
    where += ["--region", "ID"]
    assert run("sync", "--feed", "id-all", *where).code == 0
    digest = run("status", "--feed", "id-all", "--json", *where).document["digest"]
    for name in ("list.csv", "list.jsonl", "list.parquet"):
        exported = tmp_path / f"exported-{name}"
        assert run("export", "--feed", "id-all", "--format", name.split(".")[1], "-o", exported, *where).code == 0
        copy = Publisher.init(
            tmp_path / f"copy-{name}", feeds=["id-copy"], passphrase="generated for a test", region="ID"
        )
        assert copy.release("id-copy", exported).digest == digest
