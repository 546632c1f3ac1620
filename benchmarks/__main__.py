"""``python -m benchmarks --rows 1000000,10000000 --json OUT``: measure, and print the table."""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.lists import make_lists
from benchmarks.lookups import lookups
from benchmarks.processes import check, imports
from benchmarks.ready import ready
from benchmarks.results import Result, machine, table
from benchmarks.screening import screening, wrong_answers
from benchmarks.sync import synced
from benchmarks.wire import wire


def measure(rows: int, *, repeats: int) -> list[Result]:
    """Every row of the table for one size, on generated lists, in a temporary folder.

    Args:
        rows: on the list.
        repeats: how often to measure; medians are reported.
    """
    lists = make_lists(rows)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        for part in ("questions", "columns", "served"):
            (folder / part).mkdir()
        with synced(lists, folder, repeats=repeats) as found:
            asked = lookups(lists, found.open, folder / "questions", repeats=repeats)
            screened = screening(lists, found.open, folder / "columns", repeats=repeats)
            checked = check(int(lists.blocked[0]), rows, found.open, repeats=repeats)
            sizes = wire(found.snapshot, lists.universe, repeats=repeats)
            beside_http = ready(lists, found.cold_s, folder / "served", repeats=repeats)
        return [*asked, *screened, *found.results, *beside_http, *sizes, *checked]


def main() -> None:
    """Read the arguments, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default="1000000", metavar="N[,N]", help="sizes of the lists, from 100 on")
    parser.add_argument("--repeats", default=3, type=int, metavar="N", help="medians of so many (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    try:
        sizes = [int(size) for size in arguments.rows.split(",")]
    except ValueError:
        parser.error(f"--rows is {arguments.rows!r}, not whole numbers with commas between")
    if min(sizes) < 100 or arguments.repeats < 1:
        parser.error("give at least 100 rows and one repeat")

    results: list[Result] = []
    for rows in sizes:
        print(f"measuring {rows:,} generated rows …", file=sys.stderr)
        results += measure(rows, repeats=arguments.repeats)
    results += imports(repeats=arguments.repeats)
    results += wrong_answers()

    about = machine()
    print(f"Generated rows; medians of {arguments.repeats}; {', '.join(f'{k} {v}' for k, v in about.items())}\n")
    print(table(results))
    if arguments.json:
        document = {
            "generated": True,
            "repeats": arguments.repeats,
            "machine": about,
            "results": [{**asdict(result), "ratio": result.ratio, "met": result.met} for result in results],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
