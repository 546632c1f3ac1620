"""Whole columns of numbers, beside pipelines in Polars and DuckDB: how fast, and how often right."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import fresh
from benchmarks.lists import REGION, Lists, make_column
from benchmarks.peers import SEPARATORS
from benchmarks.results import Result

_PEERS = {"screen_polars": "a Polars pipeline", "screen_duckdb": "a DuckDB pipeline"}


def screening(lists: Lists, synced: Mapping[str, str], folder: Path, *, repeats: int) -> list[Result]:
    """Screen as many texts as there are entries; each side in a process of its own.

    Args:
        lists: the second release is what was synced.
        synced: arguments of `Blocklist.open` for it.
        folder: an empty folder for what the processes read.
        repeats: how often each side screens.
    """
    rows = len(lists.second)
    pq.write_table(pa.table({"msisdn": make_column(lists, rows)}), folder / "column.parquet")
    np.save(folder / "blocked.npy", lists.blocked)
    (folder / "about.json").write_text(json.dumps({"open": dict(synced)}))
    found = {side: fresh.measure(side, folder, repeats, module="peers") for side in ("screen_ours", *_PEERS)}
    if len({each["hits"] for each in found.values()}) != 1:
        raise RuntimeError(f"the sides answer differently: there is nothing to compare ({found})")
    ours = found["screen_ours"]
    best = min(_PEERS, key=lambda side: found[side]["screen_s"])
    results = [
        Result(
            f"screen {rows:,} texts, six formats, half of them listed",
            rows,
            "s",
            ours["screen_s"],
            found[best]["screen_s"],
            f"the better of Polars and DuckDB: {_PEERS[best]}",
            most_ratio=1,
        )
    ]
    results += [
        Result(f"the same, beside {name}", rows, "s", ours["screen_s"], found[side]["screen_s"], name)
        for side, name in _PEERS.items()
    ]
    return results


MESSY = (
    "62811811234",  # how operators write a short MSISDN
    "+62 (0)812-3456-7890",
    "0062 812 3456 7890",
    "001 62 812 3456 7890",
    "tel:+62-812-3456-7890",
    "0812-3456-7890 ext. 12",
    "\u202a+62 812\u00a03456 7890\u202c",
    "\uff10\uff18\uff11\uff12 3456 7890",
    "+62812345678*",
    "+628123456____",
    "0812-3456-789O",
    "0812-3456-7890, 0813-1111-2222",
    "112",
    "14045",
    "1500123",
    "GoPay",
)
"""Generated texts of the kinds that real lists hold. Those that mean a number mean +62811811234 or +6281234567890."""

MEANT = (62_811_811_234, *(6_281_234_567_890,) * 7, *(None,) * 8)


def wrong_answers() -> list[Result]:
    """How many of the messy texts each way reads as something else than what they mean."""
    from blocklist_sdk import InvalidNumber, normalize

    def ours(text: str) -> int | None:
        try:
            return normalize(text, region=REGION)
        except InvalidNumber:
            return None

    def by_phonenumbers(text: str) -> int | None:
        try:
            number = phonenumbers.parse(text, REGION)
        except phonenumbers.NumberParseException:
            return None
        return int(f"{number.country_code}{number.national_number}")

    def by_pipeline(text: str) -> int | None:
        digits = pc.replace_substring_regex(pa.array([text]), "[^0-9+]", "")[0].as_py()
        digits = digits[1:] if digits.startswith("+") else "62" + digits[1:] if digits.startswith("0") else digits
        return int(digits) if digits.isascii() and digits.isdigit() else None

    assert set(SEPARATORS) == set(" ().-")
    count = {
        way.__name__: sum(way(text) != meant for text, meant in zip(MESSY, MEANT, strict=True))
        for way in (ours, by_phonenumbers, by_pipeline)
    }
    return [
        Result(
            f"texts read wrongly, of {len(MESSY)} messy ones",
            None,
            "texts",
            count["ours"],
            count[way],
            name,
            most=0,
        )
        for way, name in (("by_phonenumbers", "`phonenumbers.parse`"), ("by_pipeline", "digits by regular expression"))
    ]
