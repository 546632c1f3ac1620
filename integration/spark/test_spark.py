"""Spark's answers are those of one process, row for row; what it may not trust it refuses, early and once."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Stale, Untrusted
from blocklist_sdk.recipient.screening.partitions import ANSWERS
from integration.spark.sessions import classic, connect

FEED: Final = "id-all"
ROWS: Final = {"classic": 5_000_000, "connect": 200_000}
"""Rows of the table that is compared with one process."""

PARTITION_ROWS: Final = 400_000
COLUMNS: Final = [f"blocklist_{name}" for name in ANSWERS.names]

LISTED: Final = "0812-0000-0000"
LIST: Final = """\
number,last,level,category,scope,until
{singles}
+6281300000000,+6281300099999,block,fraud,voice,
+6281400000000,,advisory,spam,sms,
+6281400000001,,block,fraud,sms,2099-01-01T00:00:00Z
"""


@dataclass(frozen=True)
class Published:
    """A list, and the bundle of it."""

    blocklist: Blocklist
    root: Path
    bundle: Path
    other_root: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("list")
    singles = "\n".join(f"+62812{n:08d},,block,phishing,sms+voice," for n in range(0, 3_000_000, 30))
    (folder / "list.csv").write_text(LIST.format(singles=singles))
    publishers = [
        Publisher.init(folder / name, feeds=[FEED], passphrase=secrets.token_urlsafe(), region="ID")
        for name in ("authority", "stranger")
    ]
    publishers[0].release(FEED, folder / "list.csv", published_at=datetime(2026, 1, 2, 6, tzinfo=UTC))
    with Blocklist.open(
        publishers[0].repository.as_uri(),
        feed=FEED,
        root=publishers[0].root,
        region="ID",
        cache_dir=folder / "cache",
    ) as blocklist:
        blocklist.sync()
        blocklist.bundle(folder / "list.bundle")
        yield Published(blocklist, publishers[0].root, folder / "list.bundle", publishers[1].root)


@pytest.fixture(scope="module", params=["classic", "connect"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def spark(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with {"classic": classic, "connect": connect}[kind](tmp_path_factory.mktemp(kind)) as session:
        yield session


def generated_texts(rows: int) -> pa.Array:
    """Texts of numbers as people write them, of no numbers, and nulls, in random order. They are nobody's."""
    rng = np.random.default_rng(18)
    number = rng.choice([62812, 62813, 62814, 62899], rows).astype(np.int64) * 10**8 + rng.integers(0, 3_000_000, rows)
    digits = pc.cast(pa.array(number), pa.string())
    national = pc.replace_substring_regex(digits, "^62", "0")
    dashed = pc.replace_substring_regex(national, r"^(\d{4})(\d{4})(\d{4})$", r"\1-\2-\3")
    form = pa.array(rng.integers(0, 100, rows))
    return pc.choose(
        pc.cast(pc.min_element_wise(pc.divide(form, 20), 4), pa.int64()),
        national,
        dashed,
        pc.binary_join_element_wise("+", digits, ""),
        digits,
        pc.if_else(pc.less(form, 98), national, pc.if_else(pc.equal(form, 98), "GoPay", None)),
    )


def test_every_row_is_answered_as_by_one_process(spark: Any, kind: str, published: Published, tmp_path: Path) -> None:
    from blocklist_sdk.spark import with_verdicts

    texts = generated_texts(ROWS[kind])
    source = pa.table({"row": np.arange(len(texts)), "msisdn": texts})
    (tmp_path / "in").mkdir()
    for i, start in enumerate(range(0, len(texts), PARTITION_ROWS)):
        pq.write_table(source[start : start + PARTITION_ROWS], tmp_path / "in" / f"{i:03}.parquet")
    answered = with_verdicts(
        spark.read.parquet(str(tmp_path / "in")), "msisdn", published.bundle, root=published.root, region="ID"
    )
    answered.write.parquet(str(tmp_path / "out"))
    found = pq.read_table(tmp_path / "out").sort_by("row")
    wanted = published.blocklist.screen(texts)
    assert found.num_rows == ROWS[kind]
    assert found.column("row").equals(source.column("row"))
    assert found.column("msisdn").equals(source.column("msisdn"))
    for name in ANSWERS.names:
        ours = wanted.column(name).cast(ANSWERS.field(name).type)  # type: ignore[attr-defined]
        assert found.column(f"blocklist_{name}").combine_chunks().equals(ours.combine_chunks()), name
    assert pc.sum(found.column("blocklist_blocked")).as_py() > ROWS[kind] // 100
    status = published.blocklist.status()
    release = {"feed": FEED, "era": 1, "serial": 1, "digest": status.digest, "as_of": status.as_of, "stale": False}
    # Spark writes moments as INT96, which has no zone and is UTC.
    as_of = found.column("blocklist_as_of").cast(pa.timestamp("ms")).cast(pa.timestamp("ms", "UTC"))
    found = found.set_column(found.schema.get_field_index("blocklist_as_of"), "blocklist_as_of", as_of)
    for name, value in release.items():
        assert pc.unique(found.column(f"blocklist_{name}")).to_pylist() == [value], name


@pytest.mark.parametrize("ship", [False, True], ids=["path", "shipped"])
def test_the_bundle_is_found_at_its_path_or_shipped(
    spark: Any, published: Published, tmp_path: Path, ship: bool
) -> None:
    from blocklist_sdk.spark import with_verdicts

    bundle = tmp_path / "list.bundle"
    shutil.copyfile(published.bundle, bundle)
    df = spark.createDataFrame([(LISTED,), ("0899-0000-0000",), (None,)], "msisdn string")
    answered = with_verdicts(df, "msisdn", bundle, root=published.root.read_bytes(), region="ID", ship=ship)
    assert [row.blocklist_blocked for row in answered.collect()] == [True, False, None]
    bundle.unlink()
    if ship:
        assert [row.blocklist_blocked for row in answered.collect()] == [True, False, None]
        with pytest.raises(InvalidInput, match="there is no bundle"):
            with_verdicts(df, "msisdn", bundle, root=published.root, region="ID", ship=True)
    else:
        with pytest.raises(Exception, match=r"there is no bundle .* on this machine"):
            answered.collect()


def test_what_may_not_be_trusted_is_refused_before_the_job(spark: Any, published: Published, tmp_path: Path) -> None:
    from blocklist_sdk.spark import with_verdicts

    df = spark.createDataFrame([(LISTED,)], "msisdn string")
    with pytest.raises(Untrusted):
        with_verdicts(df, "msisdn", published.bundle, root=published.other_root, region="ID")
    data = bytearray(published.bundle.read_bytes())
    for place in (len(data) // 3, len(data) // 2, len(data) - 1000):
        changed = bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]])
        (tmp_path / "changed.bundle").write_bytes(changed)
        with pytest.raises(Untrusted):
            with_verdicts(df, "msisdn", tmp_path / "changed.bundle", root=published.root, region="ID")
    (tmp_path / "list.csv").write_text("msisdn\n+6281200000000\n")
    with pytest.raises(Untrusted):
        with_verdicts(df, "msisdn", tmp_path / "list.csv", root=published.root, region="ID")
    with pytest.raises(InvalidInput, match="there is no bundle"):
        with_verdicts(df, "msisdn", tmp_path / "nowhere.bundle", root=published.root, region="ID")


def test_a_worker_refuses_a_file_that_the_job_was_not_started_with(
    spark: Any, published: Published, tmp_path: Path
) -> None:
    from blocklist_sdk.spark import with_verdicts

    bundle = tmp_path / "list.bundle"
    shutil.copyfile(published.bundle, bundle)
    df = spark.createDataFrame([(LISTED,)], "msisdn string")
    answered = with_verdicts(df, "msisdn", bundle, root=published.root, region="ID")
    assert answered.collect()[0].blocklist_blocked
    with bundle.open("r+b") as file:  # in place, after workers have opened it
        file.seek(-1000, 2)
        byte = file.read(1)
        file.seek(-1000, 2)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(Exception, match="is not the bundle that the job was started with"):
        answered.collect()


def test_the_columns_are_declared_and_others_stay_as_they_are(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import with_verdicts

    schema = (
        "id int not null, msisdn string, nested struct<a: array<int>, b: map<string, bigint>>, at timestamp, "
        "local timestamp_ntz, amount decimal(12,2), raw binary, day date, `a.b` string"
    )
    at = datetime(2026, 1, 2, 3, 4, 5, 678_900)  # noqa: DTZ001 -- Spark returns such
    rows = [
        (1, LISTED, {"a": [1, None], "b": {"x": 2}}, at, at, None, b"\x00", at.date(), "x"),
        (2, None, None, None, None, None, None, None, None),
    ]
    df = spark.createDataFrame(rows, schema)
    answered = with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID", prefix="by ")
    assert answered.schema.fields[: len(df.schema.fields)] == df.schema.fields
    assert {field.name: field.dataType.simpleString() for field in answered.schema.fields[len(df.columns) :]} == {
        "by number": "bigint",
        "by blocked": "boolean",
        "by level": "string",
        "by category": "string",
        "by reason": "string",
        "by feed": "string",
        "by era": "bigint",
        "by serial": "bigint",
        "by digest": "string",
        "by as_of": "timestamp",
        "by stale": "boolean",
    }
    found = answered.collect()
    assert [tuple(row)[: len(df.columns)] for row in found] == [tuple(row) for row in df.collect()]
    assert [row["by blocked"] for row in found] == [True, None]
    dotted = with_verdicts(df, "a.b", published.bundle, root=published.root, region="ID")
    assert [row.blocklist_blocked for row in dotted.collect()] == [None, None]


def test_settings_of_arrow_change_nothing(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import with_verdicts

    settings = {"useLargeVarTypes": "true", "maxRecordsPerBatch": "7"}
    df = spark.range(100).selectExpr("concat('0812-0000-', lpad(id, 4, '0')) AS msisdn", "id")

    def answers() -> list[Any]:
        answered = with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID")
        found: list[Any] = answered.orderBy("id").collect()
        return found

    before = answers()
    assert sum(row.blocklist_blocked for row in before) == 4
    try:
        for name, value in settings.items():
            spark.conf.set(f"spark.sql.execution.arrow.{name}", value)
        assert answers() == before
    finally:
        for name in settings:
            spark.conf.unset(f"spark.sql.execution.arrow.{name}")


def test_rows_keep_their_order_in_their_partition(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import with_verdicts

    df = spark.range(0, 30_000, 1, 3).selectExpr("6281200000000 + id AS msisdn").sortWithinPartitions("msisdn")
    answered = with_verdicts(df, "msisdn", published.bundle, root=published.root)
    assert [row.msisdn for row in answered.collect()] == [row.msisdn for row in df.collect()]
    assert answered.where("blocklist_blocked").count() == 1000


def test_tables_without_rows(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import with_verdicts

    for df in (
        spark.createDataFrame([], "msisdn string"),
        spark.createDataFrame([(LISTED,)], "msisdn string").repartition(8),
        spark.range(10).selectExpr("CAST(NULL AS string) AS msisdn").where("msisdn IS NOT NULL"),
    ):
        answered = with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID")
        assert answered.count() == df.count()
        assert set(COLUMNS) <= set(answered.columns)


def test_the_column_decides_the_form_and_no_partition_does(spark: Any, published: Published) -> None:
    """In the first partition all texts look national; the others show that they are not."""
    from blocklist_sdk.spark import column_form, with_verdicts

    texts = ["85512345678", "85251234567", "819012345678"] * 100 + ["14155550100"] * 700
    df = spark.createDataFrame([(text,) for text in texts], "msisdn string").repartitionByRange(4, "msisdn")
    decision = column_form(df, "msisdn", region="ID")
    wanted = published.blocklist.screening().with_form_of(pa.array(texts))[1]
    assert (decision.form, decision.texts, decision.national) == ("international", wanted.texts, wanted.national)

    def numbers(**arguments: Any) -> set[int]:
        answered = with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID", **arguments)
        return {row[0] for row in answered.select("blocklist_number").distinct().collect()}

    assert numbers() == {int(text) for text in texts}
    assert numbers(form=decision) == numbers(form="international") == numbers()
    assert 6285512345678 in numbers(form="national")


def test_a_scope_and_own_protected_numbers(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import with_verdicts

    df = spark.createDataFrame([(6281400000001,), (6281300000005,), (6281300000006,)], "n long")
    answered = with_verdicts(
        df, "n", published.bundle, root=published.root, scope="voice", protected=["+6281300000006"]
    )
    assert [row.blocklist_reason for row in answered.collect()] == ["not-listed", "listed", "protected"]


def test_what_cannot_be_screened_is_said(spark: Any, published: Published) -> None:
    from blocklist_sdk.spark import column_form, with_verdicts

    df = spark.createDataFrame([(1.5, LISTED, "x")], "d double, msisdn string, blocklist_number string")

    def attempt(df: Any, column: str, **arguments: Any) -> Any:
        return with_verdicts(df, column, published.bundle, root=published.root, **arguments)

    with pytest.raises(InvalidInput, match="'blocklist_number', which would be added"):
        attempt(df, "msisdn")
    with pytest.raises(InvalidInput, match="of the type double"):
        attempt(df.drop("blocklist_number"), "d")
    with pytest.raises(InvalidInput, match="there is no column 'nothing'"):
        attempt(df.drop("blocklist_number"), "nothing")
    with pytest.raises(InvalidInput, match="foreachBatch"):
        attempt(spark.readStream.format("rate").load(), "value")
    with pytest.raises(InvalidInput, match="is not a scope"):
        attempt(df.drop("blocklist_number"), "msisdn", scope="fax")
    with pytest.raises(InvalidInput):
        column_form(df.drop("blocklist_number"), "msisdn", region="XX")


def test_a_list_past_its_expiry_is_said_or_refused(
    spark: Any, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blocklist_sdk import times
    from blocklist_sdk.spark import with_verdicts

    monkeypatch.setattr(times, "now", lambda: datetime(2031, 1, 1, tzinfo=UTC))
    df = spark.createDataFrame([(LISTED,)], "msisdn string")
    answered = with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID")
    (row,) = answered.collect()
    assert (row.blocklist_stale, row.blocklist_blocked) == (True, True)
    with pytest.raises(Stale):
        with_verdicts(df, "msisdn", published.bundle, root=published.root, region="ID", when_stale="raise")
