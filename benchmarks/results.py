"""Measurements, and the table they make."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Unit = Literal["s", "B", "texts"]

_SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "texts": ((1.0, ""),),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        what: what was measured.
        rows: entries on the list; None where no list is involved.
        unit: of `ours` and `anchor`: seconds, bytes, or a count of texts.
        ours: median of the repeats.
        anchor: the same by `against`, in the same run; None where there is nothing to compare with.
        against: what the anchor is.
        most_ratio: the bar for ours / anchor; None where the bar is not a ratio.
        most: the bar for ours itself, in `unit`; None where there is none.
    """

    what: str
    rows: int | None
    unit: Unit
    ours: float
    anchor: float | None = None
    against: str = ""
    most_ratio: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours / anchor: below 1 is faster or smaller."""
        return None if not self.anchor else self.ours / self.anchor

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.most_ratio is not None:
            return self.ratio is not None and self.ratio <= self.most_ratio
        return None if self.most is None else self.ours <= self.most


def median(values: Iterable[float]) -> float:
    """The median of the repeats."""
    return statistics.median(values)


def quantity(value: float, unit: Unit) -> str:
    """A value with three digits and a unit that fits.

    >>> quantity(0.00345, "s")
    '3.45 ms'
    """
    scales = _SCALES[unit]
    size, name = next((each for each in scales if value >= each[0]), scales[-1])
    return (f"{value / size:.3g} {name}" if value < 1000 * size else f"{value / size:.0f} {name}").rstrip()


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| rows | what | ours | anchor | ours / anchor | bar | |", "|---:|---|---:|---|---:|---|---|"]
    for result in results:
        anchor = "–" if result.anchor is None else f"{quantity(result.anchor, result.unit)}, {result.against}"
        cells = (
            "" if result.rows is None else f"{result.rows:,}",
            result.what,
            quantity(result.ours, result.unit),
            anchor,
            "–" if result.ratio is None else f"{result.ratio:.3g}",
            _bar(result),
            {True: "met", False: "NOT MET", None: ""}[result.met],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _bar(result: Result) -> str:
    if result.most_ratio is not None:
        return f"≤ {result.most_ratio:g}"
    return "–" if result.most is None else f"≤ {quantity(result.most, result.unit)}"


def machine() -> dict[str, object]:
    """What everything was measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _processor() -> str:
    """The processor's name, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
