"""From nothing to the first answer, beside lists that travel as JSON or CSV and live in memory."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from benchmarks import fresh
from benchmarks.lists import Lists
from benchmarks.results import Result
from blocklist_sdk.publisher import serving

_ROWS_MAX = 1_000_000
"""Ten million decisions as JSON take gigabytes of memory to read."""


def ready(lists: Lists, cold_s: float, folder: Path, *, repeats: int) -> list[Result]:
    """Serve the same numbers as JSON and as CSV, and load them; none for lists that are too long for that.

    Args:
        lists: the second release is what is served.
        cold_s: what our cold sync of as many rows took, until everything can be asked.
        folder: an empty folder to serve.
        repeats: how often to load each.
    """
    rows = len(lists.second)
    if rows > _ROWS_MAX:
        return []
    # Our own server, which serves repositories: the same for both sides.
    (folder / "metadata").mkdir()
    files = folder / "targets"
    files.mkdir()
    texts = [f"+{number}" for number in lists.blocked.tolist()]
    pa.csv.write_csv(pa.table({"number": texts}), files / "list.csv", pa.csv.WriteOptions(quoting_style="none"))
    decisions = [
        {
            "id": i,
            "origin": "lists",
            "type": "ban",
            "scope": "Phone",
            "value": text,
            "duration": "4h",
            "scenario": "fraud",
        }
        for i, text in enumerate(texts)
    ]
    (files / "decisions.json").write_text(json.dumps({"new": decisions, "deleted": None}))
    with serving(folder) as url:
        (folder / "http.json").write_text(json.dumps({"url": f"{url}/targets", "text": texts[len(texts) // 2]}))
        found = fresh.measure("over_http", folder, repeats, module="peers")
    return [
        Result("from nothing to every answer, signed and verified", rows, "s", cold_s, found[f"{name}_s"], against)
        for name, against in (("json", "JSON decisions over HTTP into a dict"), ("csv", "CSV over HTTP into a set"))
    ]
