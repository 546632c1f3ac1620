"""Draw a picture for the docs from results: ``python -m benchmarks.picture RESULTS.json PNG``.

From the results of `benchmarks` it has one bar for each comparison: how many times as much the other way takes. From
those of `benchmarks.changes` it has the cost of each thing against the length of the list. All axes are logarithmic.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from benchmarks.results import Unit, quantity

_OURS, _SLOWER = "#1b6e53", "#8b1e3f"
_UNDRAWN = ("texts",)

_NOW, _BEFORE, _PLAIN, _OTHER = ("#1b6e53", "o-"), ("#8b1e3f", "s--"), ("#555555", "^:"), ("#b8860b", "v:")
"""A colour and a form for each side, so that they can be told apart in grey as well."""

PANELS: Final[tuple[tuple[str, Unit, tuple[tuple[str, str, str, tuple[str, str]], ...]], ...]] = (
    (
        "sync of a delta of 10,000",
        "s",
        (
            ("blocklist-sdk", "now", "delta_s", _NOW),
            ("the commit before", "before", "delta_s", _BEFORE),
            ("all of it: download, SHA-256, Parquet", "beside", "plain_s", _PLAIN),
            ("SQLite, unverified", "beside", "sqlite_delta_s", _OTHER),
        ),
    ),
    (
        "first sync",
        "s",
        (
            ("blocklist-sdk", "now", "cold_s", _NOW),
            ("the commit before", "before", "cold_s", _BEFORE),
            ("download, SHA-256, Parquet", "beside", "plain_s", _PLAIN),
            ("SQLite, without a download", "beside", "sqlite_build_s", _OTHER),
        ),
    ),
    (
        "an integer: blocked?",
        "s",
        (
            ("blocklist-sdk", "now", "integer_s", _NOW),
            ("the commit before", "before", "integer_s", _BEFORE),
            ("Python set", "beside", "set_integer_s", _PLAIN),
            ("SQLite", "beside", "sqlite_integer_s", _OTHER),
        ),
    ),
    (
        "memory in no file",
        "B",
        (
            ("blocklist-sdk, first sync", "now", "cold_memory", _NOW),
            ("the commit before, first sync", "before", "cold_memory", _BEFORE),
            ("blocklist-sdk, questions", "now", "lookup_memory", ("#1b6e53", "D-")),
            ("Python set, questions", "beside", "set_memory", _OTHER),
            ("Parquet read", "beside", "plain_memory", _PLAIN),
        ),
    ),
)
"""Title, unit, and for each line its name, whose figure it is, which, and how it is drawn."""


def drawn(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparisons worth a bar: with an anchor, of the largest list, in the order of the table."""
    results = [each for each in document["results"] if each["ratio"] and each["unit"] not in _UNDRAWN]
    largest: dict[tuple[str, str], dict[str, Any]] = {}
    for each in results:
        key = (each["what"].replace(f"{each['rows'] or 0:,} ", ""), each["against"].partition(":")[0])
        if key not in largest or (each["rows"] or 0) >= (largest[key]["rows"] or 0):
            largest[key] = each
    return list(largest.values())


def line(document: dict[str, Any], whose: str, name: str) -> tuple[list[int], list[float]]:
    """The lengths at which a figure was measured, ascending, and its medians."""
    found = {
        int(rows): statistics.median(sides[whose][name])
        for rows, sides in document["samples"].items()
        if name in sides.get(whose, {})
    }
    lengths = sorted(found)
    return lengths, [found[rows] for rows in lengths]


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture of some results."""
    is_by_length = "samples" in document
    bars = [] if is_by_length else drawn(document)[::-1]
    figure = plt.figure(figsize=(11, 9.0 if is_by_length else 0.62 * len(bars) + 1.6), layout="constrained")
    if is_by_length:
        _draw_lines(figure, document)
    else:
        _draw_bars(figure.subplots(), bars, document)
    figure.savefig(path, dpi=110)


def _draw_bars(axes: Any, bars: list[dict[str, Any]], document: dict[str, Any]) -> None:
    labels = [f"{each['what']}\n{_rows(each['rows'])}against {each['against']}" for each in bars]
    factors = [1 / each["ratio"] for each in bars]
    drawn_bars = axes.barh(labels, factors, color=[_OURS if factor >= 1 else _SLOWER for factor in factors], height=0.7)
    axes.bar_label(drawn_bars, [f"{factor:.3g} ×" for factor in factors], padding=4, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(0.1, *factors) / 1.3, max(factors) * 3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("what the other way takes, in time or bytes, as a multiple of blocklist-sdk (logarithmic)")
    axes.set_title(f"Generated lists; medians of {document['repeats']}; {_machine(document)}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lines(figure: Any, document: dict[str, Any]) -> None:
    figure.suptitle(
        f"Cost against length; generated lists; {_machine(document)}",
        fontsize=9,
    )
    lengths = sorted(map(int, document["samples"]))
    for axes, (title, unit, sides) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for label, whose, name, (color, form) in sides:
            rows, values = line(document, whose, name)
            if rows:
                axes.plot(rows, values, form, color=color, label=label, markersize=5, linewidth=1.4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(lengths, [f"{rows / 1e6:g} M" for rows in lengths], minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit: quantity(value, unit)))
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("numbers on the list", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)


def _machine(document: dict[str, Any]) -> str:
    machine = document["machine"]
    return f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}"


def _rows(rows: int | None) -> str:
    return f"{rows:,} rows, " if rows else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw(json.loads(arguments.results.read_text(encoding="utf-8")), arguments.picture)
