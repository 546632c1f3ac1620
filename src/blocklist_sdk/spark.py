"""Spark: screen a DataFrame against a bundle, part by part, on as many machines as it has.

Needs the extra ``spark``. On the workers, the package itself is enough.

What goes to the workers is the path of a bundle, and what the program that starts the job has decided: the release, the
form of the column, the moment. Each worker process opens and verifies the bundle once. Spark Classic and Spark Connect
are asked in the same way; nothing here uses a `SparkContext`.
"""

import atexit
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import Form, FormDecision, decide_form
from blocklist_sdk.numbers.form_sample import FormSample
from blocklist_sdk.places import absolute, resolved, temporary_directory
from blocklist_sdk.recipient.current_list import WhenStale
from blocklist_sdk.recipient.jobs import JobRelease, ScreeningJob, sha256_of_bundle, start_job
from blocklist_sdk.recipient.screening.partitions import ANSWERS, PREFIX, RELEASE, joined, place_of, sampled, screened
from blocklist_sdk.records import Scope
from blocklist_sdk.texts import missing_extra

try:
    from pyspark.sql import types as spark_types
except ImportError as _missing:
    raise ImportError(
        f"{missing_extra('Spark for Python', 'spark')}; it also needs Java 17 or later, unless it is the client of a "
        "Spark Connect server",
        name="pyspark",
    ) from _missing

__all__ = ["column_form", "with_verdicts"]

log: logging.Logger = logging.getLogger(__name__)


class SparkFrame(Protocol):
    """What is asked of a `pyspark.sql.DataFrame`, of Spark Classic or Spark Connect."""

    @property
    def columns(self) -> list[str]: ...

    @property
    def schema(self) -> Any: ...

    @property
    def isStreaming(self) -> bool: ...  # noqa: N802

    @property
    def sparkSession(self) -> Any: ...  # noqa: N802

    def mapInArrow(self, func: Any, schema: Any) -> Any: ...  # noqa: N802

    def select(self, *cols: Any) -> Any: ...

    def toDF(self, *cols: str) -> Any: ...  # noqa: N802


_Frame = TypeVar("_Frame", bound=SparkFrame)

_TEXT: Final = "StringType"
_INTEGERS: Final = ("LongType", "IntegerType", "ShortType", "ByteType")

_SHIPPED_DIGITS: Final = 32
"""Of the hash in a shipped bundle's name: enough that no other file has the name."""


def with_verdicts(
    df: _Frame,
    column: str,
    bundle: str | Path,
    *,
    root: str | Path | bytes,
    region: str | None = None,
    form: Form | FormDecision = "auto",
    scope: Scope | None = None,
    protected: str | Path | Iterable[str | int] = (),
    overrides: bool = False,
    when_stale: WhenStale = "serve",
    min_release: int | str | None = None,
    ship: bool = False,
    prefix: str = PREFIX,
) -> _Frame:
    """Answer for a column of a DataFrame, row for row, as `Blocklist.screen` does in one process.

    The bundle is opened and verified here first, so that what is wrong with it is raised here, once. The answer is a
    DataFrame of Spark's, so the work itself is done when its rows are asked for. All of them are answered as of the
    moment of this call, also if a part is done again: call it anew for a new day.

    Args:
        df: any DataFrame that is not a stream. Its columns and rows stay as they are, and rows keep their order within
            their partition.
        column: the name of the column with the numbers: texts or whole numbers, nulls included. A whole number is read
            as the text of its digits.
        bundle: the path of a bundle, as ``blocklist bundle`` writes it.
        root: the authority's root metadata: a path on this machine, or its bytes. The workers get its bytes.
        region: CLDR region, for instance ``"ID"``, in which numbers without a country code are read; None to accept
            international numbers only.
        form: how digits without a plus are read. With ``auto`` the whole column decides, here and once, as it does for
            `Blocklist.screen`: of every partition the same share of rows is looked at, 20,000 rows at most. This runs a
            job over the column before; a declared form, or what `column_form` returned, runs none.
        scope: count the entries of this scope only.
        protected: numbers of your own that are never blocked, as for `Blocklist.open`; a file is read here only.
        overrides: whether overrides that are in the bundle count, as for `Blocklist.open_bundle`: they are not signed.
        when_stale: what to do past the signed expiry: ``serve`` answers, and says so in the column ``stale``; ``raise``
            raises `Stale`, here or in the job.
        min_release: the oldest release that is taken, as for `Blocklist.open_bundle`.
        ship: send the bundle to the workers through Spark, once to each executor. Otherwise they open the same path, so
            it must be on every machine.
        prefix: before the names of the columns that are added.

    Returns:
        The DataFrame with these columns added: ``blocklist_number`` (E.164 as long), ``blocklist_blocked``,
        ``blocklist_level``, ``blocklist_category`` and ``blocklist_reason``, which are null in rows that are not
        numbers; and in every row ``blocklist_feed``, ``blocklist_era``, ``blocklist_serial``, ``blocklist_digest`` and
        ``blocklist_as_of`` of the release that answers, and ``blocklist_stale``.

    Raises:
        InvalidInput: the column does not exist or is of another type, a name is taken, the DataFrame is a stream, the
            file is not a bundle, or an argument cannot be used.
        Untrusted: the bundle does not verify against the root, or is older than `min_release`.
        Stale: the list is past its expiry, and `when_stale` is ``raise``.

    A worker that does not find the same file fails the job with `InvalidInput`, and one that cannot verify it with
    `Untrusted`; Spark raises its own ``PythonException`` then, which has the message.
    """
    _refuse_stream(df)
    place = place_of(column, df.columns, prefix=prefix)
    fields = list(df.schema.fields)
    _check_type(fields[place])
    path = absolute(bundle)
    job = start_job(
        path,
        root=root,
        region=region,
        form=form,
        scope=scope,
        protected=protected,
        overrides=overrides,
        when_stale=when_stale,
        min_release=min_release,
        decide_form=lambda: column_form(df, column, region=region),
    )
    find = partial(_shipped, _ship(df.sparkSession, path, job.bundle.sha256)) if ship else partial(str, path)
    types = {"number": spark_types.LongType(), "blocked": spark_types.BooleanType()}
    added = [spark_types.StructField(f"{prefix}{n}", types.get(n, spark_types.StringType())) for n in ANSWERS.names]
    # mapInArrow takes no names with dots in it; the declared schema gives the columns their own names back.
    plain = df.toDF(*(f"c{i}" for i in range(len(fields))))
    screens = _screens(job, find, place, prefix, [field.name for field in fields])
    answered = plain.mapInArrow(screens, spark_types.StructType([*fields, *added]))
    answer: _Frame = answered.selectExpr("*", *_release_columns(job.release, prefix))
    return answer


def column_form(df: SparkFrame, column: str, *, region: str | None) -> FormDecision:
    """Decide in which form a column is written, as `blocklist_sdk.numbers.decide_form` does.

    Every partition gathers rows at nearly equal distances, and of each the same share decides, 20,000 rows at most. A
    column with fewer rows decides as a whole, exactly as in one process.

    Args:
        df: any DataFrame that is not a stream.
        column: the name of the column with the numbers.
        region: as for `with_verdicts`; without one, the type of the column decides, and no job runs.

    Returns:
        The form, and the counts that decided. `with_verdicts` takes it as ``form=``.

    Raises:
        InvalidInput: the column does not exist or is of another type, the region is unknown, or the DataFrame is a
            stream.
    """
    _refuse_stream(df)
    field = df.schema.fields[place_of(column, df.columns, prefix=PREFIX)]
    _check_type(field)
    sample = FormSample()
    if region is None:
        sample.add(pa.array([], pa.int64() if type(field.dataType).__name__ in _INTEGERS else pa.string()))
    else:
        found = df.select(f"`{column.replace('`', '``')}`").toDF("c").mapInArrow(sampled, "sample binary")
        for (packed,) in found.repartition(1).mapInArrow(joined, "sample binary").collect():
            sample.add_packed(bytes(packed))
    decision = decide_form(sample.column, region=region)
    log.info("the column %s: %s", column, decision)
    return decision


def _screens(
    job: ScreeningJob, find: Callable[[], str], place: int, prefix: str, names: Sequence[str]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What the workers call; Spark pickles it."""

    def screen_part(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return screened(batches, lambda: job.screening(find()), place, prefix=prefix, names=names)

    return screen_part


def _release_columns(release: JobRelease, prefix: str) -> list[str]:
    """Expressions of SQL: the same in every row, so that they need not go through Python."""
    values = {
        "feed": f"'{release.feed}'",
        "era": f"CAST({release.era} AS BIGINT)",
        "serial": f"CAST({release.serial} AS BIGINT)",
        "digest": f"'{release.digest}'",
        "as_of": f"TIMESTAMP '{times.iso(release.as_of)}'",
        "stale": str(release.stale).lower(),
    }
    return [f"{values[name]} AS `{prefix.replace('`', '``')}{name}`" for name in RELEASE]


def _refuse_stream(df: SparkFrame) -> None:
    if df.isStreaming:
        raise InvalidInput(
            "a stream has no column that could decide a form, and no moment: call with_verdicts in foreachBatch, for "
            "each batch"
        )


def _check_type(field: Any) -> None:
    kind = type(field.dataType).__name__
    if kind != _TEXT and kind not in _INTEGERS:
        raise InvalidInput(
            f"the column {field.name!r} is of the type {field.dataType.simpleString()}; numbers are texts or whole "
            "numbers: cast it to string or bigint, or select the part that holds the number as a column of its own",
            argument="column",
        )


_shipping: dict[str, Path] = {}
"""What was shipped, by hash, under the names that Spark knows; Spark may read it as long as this process runs."""

_shipped_files = contextlib.ExitStack()
atexit.register(_shipped_files.close)


def _ship(session: Any, path: Path, sha256: str) -> str:
    """Have Spark send a bundle to every executor, under a name that no other file has.

    Returns:
        That name.
    """
    name = f"blocklist-{sha256[:_SHIPPED_DIGITS]}.bundle"
    if sha256 not in _shipping:
        copy = _shipped_files.enter_context(temporary_directory(prefix="blocklist-")) / name
        with storage(copy):
            # A link of a symbolic link is one more of these: it leads nowhere from here, or to what is there tomorrow.
            file = resolved(path)
            try:
                os.link(file, copy)
            except OSError:  # another disk
                shutil.copyfile(file, copy)
        if sha256_of_bundle(copy) != sha256:
            raise InvalidInput(f"{path} was replaced while the job was started: start it again", argument="bundle")
        _shipping[sha256] = copy
    session.addArtifacts(str(_shipping[sha256]), file=True)
    return name


def _shipped(name: str) -> str:
    """Where a file that was sent lies in this worker."""
    from pyspark import SparkFiles

    path: str = SparkFiles.get(name)
    return path
