"""The rows of the table that `benchmarks.changes` prints: which figure is judged beside what, and by which bar."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.results import Unit, quantity

NOW, BEFORE, BESIDE = "now", "before", "beside"
"""Whose figures: this commit's, the commit's before, and what others do."""

LONG: Final = 10_000_000
LONGEST: Final = 100_000_000
"""Bars are applied from these lengths on; shorter lists show where a run is going, and no more."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples of one figure."""

    median: float
    least: float
    most: float
    samples: int


@dataclass(slots=True)
class Figures:
    """All that was measured.

    Attributes:
        samples: by rows, by whose, and by the figure's name.
        failures: by rows, by whose, and by the measure's name: why there are no figures of it.
    """

    samples: dict[int, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    failures: dict[int, dict[str, dict[str, str]]] = field(default_factory=dict)

    def add(self, rows: int, whose: str, found: Mapping[str, float | Sequence[float]]) -> None:
        """Add what a measure found."""
        known = self.samples.setdefault(rows, {}).setdefault(whose, {})
        for name, value in found.items():
            known.setdefault(name, []).extend(value if isinstance(value, Sequence) else [value])

    def fail(self, rows: int, whose: str, measure: str, why: str) -> None:
        """Note that a measure failed."""
        self.failures.setdefault(rows, {}).setdefault(whose, {})[measure] = why

    def of(self, rows: int, whose: str, name: str) -> Spread | None:
        """What is known of a figure."""
        found = self.samples.get(rows, {}).get(whose, {}).get(name)
        return Spread(statistics.median(found), min(found), max(found), len(found)) if found else None

    def failure(self, rows: int, whose: str, measure: str) -> str | None:
        """Why a measure has no figures, if it failed."""
        return self.failures.get(rows, {}).get(whose, {}).get(measure)


@dataclass(frozen=True, slots=True)
class Judged:
    """A figure beside what it is judged by.

    Attributes:
        value: what the bar is applied to; a ratio if there is no unit.
        beside: what the ratio is to, or what else the value is.
        most: the bar; None where there is none for this length.
        unit: of `value` and `most`.
    """

    value: float
    beside: str
    most: float | None
    unit: Unit | None = None


Judge = Callable[[Figures, int], Judged | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        what: what was measured.
        name: the figure's name.
        rows: on the list.
        unit: of the figure.
        now, before: this commit's figure and that of the commit before.
        judged: the figure beside its bar.
        failed: why a figure is missing, by whose.
    """

    what: str
    name: str
    rows: int
    unit: Unit
    now: Spread | None
    before: Spread | None
    judged: Judged | None
    failed: Mapping[str, str]

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none, False where the figure is missing since it failed."""
        if NOW in self.failed:
            return False
        if self.judged is None or self.judged.most is None:
            return None
        return self.judged.value <= self.judged.most


@dataclass(frozen=True, slots=True)
class _Kind:
    measure: str
    name: str
    unit: Unit
    what: str
    judge: Judge = lambda _figures, _rows: None


def rows_of(figures: Figures) -> list[Row]:
    """Every row, by length: those of which a figure is known, or a failure."""
    found: list[Row] = []
    for rows in sorted({*figures.samples, *figures.failures}):
        for kind in _KINDS:
            now, before = (figures.of(rows, whose, kind.name) for whose in (NOW, BEFORE))
            failed = {
                whose: why
                for whose in (NOW, BEFORE)
                if (why := figures.failure(rows, whose, kind.measure)) is not None
                and figures.of(rows, whose, kind.name) is None
            }
            if now or before or failed:
                judged = kind.judge(figures, rows) if now else None
                found.append(Row(kind.what, kind.name, rows, kind.unit, now, before, judged, failed))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| rows | what | this commit | the commit before | ratio | judged | bar | |",
        "|---:|---|---:|---:|---:|---|---|---|",
    ]
    for row in rows:
        cells = (
            f"{row.rows:,}",
            row.what,
            _cell(row.now, row.unit, row.failed.get(NOW)),
            _cell(row.before, row.unit, row.failed.get(BEFORE)),
            f"{row.now.median / row.before.median:.3g}" if row.now and row.before and row.before.median else "–",
            _judged(row.judged),
            _bar(row.judged),
            {True: "met", False: "NOT MET", None: ""}[row.met],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def others_table(figures: Figures) -> str:
    """What others do with the same lists, as a Markdown table; empty if nothing of it was measured."""
    lines = []
    for rows in sorted(figures.samples):
        for name, unit, what in _OTHERS:
            spread = figures.of(rows, BESIDE, name)
            if spread is not None:
                lines.append(f"| {rows:,} | {what} | {_cell(spread, unit, None)} |")
    lines += [
        f"| {rows:,} | {measure} | failed: {why} |"
        for rows, sides in sorted(figures.failures.items())
        for measure, why in sides.get(BESIDE, {}).items()
    ]
    return "\n".join(["| rows | beside | |", "|---:|---|---:|", *lines]) if lines else ""


def _cell(spread: Spread | None, unit: Unit, failure: str | None) -> str:
    if spread is None:
        return f"failed: {failure}" if failure else "–"
    median = _quantity(spread.median, unit)
    if spread.samples == 1:
        return median
    return f"{median} ({_quantity(spread.least, unit)}–{_quantity(spread.most, unit)})"


def _quantity(value: float, unit: Unit) -> str:
    return "0" if not value else f"-{quantity(-value, unit)}" if value < 0 else quantity(value, unit)


def _judged(judged: Judged | None) -> str:
    if judged is None:
        return "–"
    if judged.unit is None:
        return f"{judged.value:.3g} × {judged.beside}"
    return f"{_quantity(judged.value, judged.unit)}{judged.beside and ', '}{judged.beside}"


def _bar(judged: Judged | None) -> str:
    if judged is None or judged.most is None:
        return "–"
    return f"≤ {judged.most:g}" if judged.unit is None else f"≤ {_quantity(judged.most, judged.unit)}"


# Judges


def _most(name: str, unit: Unit, bars: Mapping[int, float | None]) -> Judge:
    """The figure itself."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        now = figures.of(rows, NOW, name)
        return None if now is None else Judged(now.median, "", _bar_for(bars, rows), unit)

    return judge


def _ratio(name: str, whose: str, other: str, beside: str, bars: Mapping[int, float | None]) -> Judge:
    """The figure beside another one of the same length."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        now, reference = figures.of(rows, NOW, name), figures.of(rows, whose, other)
        if now is None or reference is None:
            return None
        return Judged(now.median / reference.median, beside, _bar_for(bars, rows))

    return judge


def _shorter(name: str, most: float) -> Judge:
    """The figure of the longest list beside the same on a tenth."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        now, shorter = figures.of(rows, NOW, name), figures.of(rows // 10, NOW, name)
        if now is None or shorter is None:
            return None
        return Judged(now.median / shorter.median, f"that of {rows // 10:,}", most if rows >= LONGEST else None)

    return judge


def _within_spread(name: str, unit: Unit) -> Judge:
    """No slower than the commit before has been at its slowest."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        now, before = figures.of(rows, NOW, name), figures.of(rows, BEFORE, name)
        if now is None or before is None:
            return None
        return Judged(now.median, "beside the slowest before", before.most if rows >= LONG else None, unit)

    return judge


def _at_most_more(name: str, other: str, unit: Unit, most: float) -> Judge:
    """How much more the figure is than another one."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        now, reference = figures.of(rows, NOW, name), figures.of(rows, NOW, other)
        if now is None or reference is None:
            return None
        more = now.median - reference.median
        return Judged(more, "more than without", most if rows >= LONG else None, unit)

    return judge


def _first(*judges: Judge) -> Judge:
    """The first that has a bar, or else the last that can be applied."""

    def judge(figures: Figures, rows: int) -> Judged | None:
        found = [each for judged in judges if (each := judged(figures, rows)) is not None]
        return next((each for each in found if each.most is not None), found[-1] if found else None)

    return judge


def _bar_for(bars: Mapping[int, float | None], rows: int) -> float | None:
    """The bar of the longest length that the list reaches."""
    reached = [length for length in bars if rows >= length]
    return bars[max(reached)] if reached else None


_COLD_BEFORE = (BEFORE, "cold_s", "the cold sync before")
_DELTA_S = _first(_shorter("delta_s", 1.5), _ratio("delta_s", *_COLD_BEFORE, {LONG: 0.08, LONGEST: None}))
_DELTA_WRITTEN = _first(_shorter("delta_written", 1.5), _most("delta_written", "B", {LONG: 20e6, LONGEST: None}))
_OPEN_MOST = 0.02

_KINDS: Final = (
    _Kind(
        "cold",
        "cold_s",
        "s",
        "cold sync over loopback",
        _ratio("cold_s", BESIDE, "plain_s", "httpx download + SHA-256 + Parquet read", {LONG: 3.0, LONGEST: 3.3}),
    ),
    _Kind(
        "cold",
        "cold_memory",
        "B",
        "peak memory of it, in no file",
        _most("cold_memory", "B", {LONGEST: 4e9}),
    ),
    _Kind("cold", "cold_cpu_s", "s", "processor time of it"),
    _Kind("cold", "cold_written", "B", "bytes written by it"),
    _Kind("deltas", "delta_s", "s", "sync of a delta", _DELTA_S),
    _Kind("deltas", "delta_cpu_s", "s", "processor time of it"),
    _Kind("deltas", "delta_written", "B", "bytes written by it", _DELTA_WRITTEN),
    _Kind("deltas", "delta_received", "B", "bytes received by it"),
    _Kind("deltas", "deltas_memory", "B", "peak memory of such syncs, in no file"),
    _Kind(
        "chain",
        "chain_mean_s",
        "s",
        "mean over a chain of deltas, upkeep included",
        _ratio("chain_mean_s", *_COLD_BEFORE, {LONG: 0.15, LONGEST: None}),
    ),
    _Kind("chain", "chain_slowest_s", "s", "the slowest sync of them"),
    _Kind("chain", "chain_upkeep_s", "s", "upkeep outside of the syncs, a delta"),
    _Kind("chain", "chain_cpu_s", "s", "processor time of all, a delta"),
    _Kind("chain", "chain_written", "B", "bytes written by all, a delta"),
    _Kind("idle", "idle_s", "s", "sync with nothing new", _most("idle_s", "s", {0: 0.05})),
    _Kind("idle", "idle_first_s", "s", "the first of them in a process"),
    _Kind(
        "differences",
        "changes_s",
        "s",
        "`changes(since=…)` over one delta",
        _most("changes_s", "s", {LONG: 0.05, LONGEST: None}),
    ),
    _Kind("differences", "changes_arrow_s", "s", "the same as an Arrow table"),
    _Kind("differences", "changes_listed_s", "s", "the same one by one"),
    _Kind(
        "enforcement",
        "enforce_first_s",
        "s",
        "enforcement of few changes: first write",
        _most("enforce_first_s", "s", {LONG: 0.15, LONGEST: 0.3}),
    ),
    _Kind("enforcement", "enforce_s", "s", "the same: all of it"),
    _Kind("enforcement-first", "enforce_all_s", "s", "enforcement of everything"),
    _Kind("publish", "add_s", "s", "`publish add` of few numbers", _most("add_s", "s", {LONG: 1.0, LONGEST: None})),
    _Kind("publish", "add_first_s", "s", "the first of them"),
    _Kind("publish", "add_written", "B", "bytes written by it"),
    _Kind("digest", "digest_s", "s", "digest of all rows", _most("digest_s", "s", {LONG: 1.0, LONGEST: None})),
    _Kind(
        "lookups",
        "integer_s",
        "s",
        "`integer in bl`",
        _first(_shorter("integer_s", 1.5), _within_spread("integer_s", "s")),
    ),
    _Kind("lookups", "text_s", "s", "`text in bl`", _first(_shorter("text_s", 1.5), _within_spread("text_s", "s"))),
    _Kind("lookups", "lookup_memory", "B", "private memory after these questions"),
    _Kind(
        "lookups-full",
        "full_integer_s",
        "s",
        "`integer in bl`, after changes to 2.4 %",
        _at_most_more("full_integer_s", "integer_s", "s", 0.4e-6),
    ),
    _Kind(
        "lookups-full",
        "full_text_s",
        "s",
        "`text in bl`, after changes to 2.4 %",
        _at_most_more("full_text_s", "text_s", "s", 0.4e-6),
    ),
    _Kind("screening", "screening_s", "s", "screen a column of texts", _within_spread("screening_s", "s")),
    _Kind(
        "opened",
        "open_integer_s",
        "s",
        "open and first `integer in bl`",
        _first(_within_spread("open_integer_s", "s"), _most("open_integer_s", "s", {LONGEST: _OPEN_MOST})),
    ),
    _Kind(
        "opened",
        "open_text_s",
        "s",
        "the same, and first `text in bl`",
        _first(_within_spread("open_text_s", "s"), _most("open_text_s", "s", {LONGEST: _OPEN_MOST})),
    ),
    _Kind("wire", "wire", "B", "a snapshot row on the wire", _most("wire", "B", {1_000_000: 8.0})),
)


_OTHERS: Final[tuple[tuple[str, Unit, str], ...]] = (
    ("plain_s", "s", "httpx download + SHA-256 + Parquet read"),
    ("plain_memory", "B", "peak memory of it, in no file"),
    ("set_build_s", "s", "building a Python set of what is blocked"),
    ("set_memory", "B", "private memory of it"),
    ("set_integer_s", "s", "`integer in set`"),
    ("sqlite_build_s", "s", "inserting all columns into SQLite"),
    ("sqlite_bytes", "B", "the size of its file"),
    ("sqlite_integer_s", "s", "an integer in SQLite, by its primary key"),
    ("sqlite_delta_s", "s", "the same delta in SQLite, one transaction"),
    ("sqlite_delta_written", "B", "bytes written by it"),
)
