"""Draw ``docs/reference/benchmarks.png`` from results: ``python -m benchmarks.picture RESULTS.json PNG``.

One bar for each comparison, on a logarithmic scale: how many times as much the other way takes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

_OURS, _SLOWER = "#1b6e53", "#8b1e3f"
_UNDRAWN = ("texts",)


def drawn(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparisons worth a bar: with an anchor, of the largest list, in the order of the table."""
    results = [each for each in document["results"] if each["ratio"] and each["unit"] not in _UNDRAWN]
    largest: dict[tuple[str, str], dict[str, Any]] = {}
    for each in results:
        key = (each["what"].replace(f"{each['rows'] or 0:,} ", ""), each["against"].partition(":")[0])
        if key not in largest or (each["rows"] or 0) >= (largest[key]["rows"] or 0):
            largest[key] = each
    return list(largest.values())


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    bars = drawn(document)[::-1]
    labels = [f"{each['what']}\n{_rows(each['rows'])}against {each['against']}" for each in bars]
    factors = [1 / each["ratio"] for each in bars]
    figure, axes = plt.subplots(figsize=(11, 0.62 * len(bars) + 1.6), layout="constrained")
    drawn_bars = axes.barh(labels, factors, color=[_OURS if factor >= 1 else _SLOWER for factor in factors], height=0.7)
    axes.bar_label(drawn_bars, [f"{factor:.3g} ×" for factor in factors], padding=4, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(0.1, *factors) / 1.3, max(factors) * 3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("what the other way takes, in time or bytes, as a multiple of blocklist-sdk (logarithmic)")
    machine = document["machine"]
    axes.set_title(
        f"Generated lists; medians of {document['repeats']}; {machine['cores']} cores, {machine['processor']}, "
        f"Python {machine['python']}",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _rows(rows: int | None) -> str:
    return f"{rows:,} rows, " if rows else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw(json.loads(arguments.results.read_text(encoding="utf-8")), arguments.picture)
