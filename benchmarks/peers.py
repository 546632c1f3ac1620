"""What one would use instead, each in a process of its own: ``python -m benchmarks.peers SIDE FOLDER``.

Every side answers the questions that `benchmarks.lookups` and `benchmarks.screening` prepared in the folder, written as
a user would write it who knows the tool well. The answer is JSON on standard output.
"""

import json
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.fresh import PARSED, memory
from benchmarks.results import median

SEPARATORS: Final = " ().-"
_CHUNK: Final = 10_000


def parsed_by_phonenumbers(texts: list[str], region: str, is_blocked: Callable[[int], bool]) -> tuple[float, int]:
    """Seconds for one text, and how many are blocked."""
    import phonenumbers

    parse: Callable[[str, str], Any] = phonenumbers.parse
    parse(texts[0], region)
    hits = 0
    started = time.perf_counter()
    for text in texts:
        number = parse(text, region)
        if is_blocked(int(f"{number.country_code}{number.national_number}")):
            hits += 1
    return (time.perf_counter() - started) / len(texts), hits


def sqlite(folder: Path) -> dict[str, float]:
    """A table of integers with a primary key, on disk."""
    numbers, texts, region = _questions(folder)
    connection = sqlite3.connect(folder / "peer.sqlite")
    started = time.perf_counter()
    with connection:
        connection.execute("CREATE TABLE blocked (number INTEGER PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO blocked VALUES (?)", ((number,) for number in numbers))
    build_s = time.perf_counter() - started
    query = "SELECT 1 FROM blocked WHERE number = ?"

    def is_blocked(number: int) -> bool:
        return connection.execute(query, (number,)).fetchone() is not None

    text_s, hits = parsed_by_phonenumbers(texts, region, is_blocked)
    (folder / "peer.sqlite").unlink()
    return {"build_s": build_s, "text_s": text_s, "parsed_hits": hits}


def redis(folder: Path) -> dict[str, float]:
    """A set in Redis or Valkey, asked over a socket."""
    import redis as client

    numbers, texts, region = _questions(folder)
    server = client.Redis(unix_socket_path=(folder / "redis-socket").read_text())
    server.flushall()
    empty = server.info("memory")["used_memory"]
    started = time.perf_counter()
    for at in range(0, len(numbers), _CHUNK):
        server.sadd("blocked", *numbers[at : at + _CHUNK])
    build_s = time.perf_counter() - started

    def is_blocked(number: int) -> bool:
        return bool(server.sismember("blocked", str(number)))

    text_s, hits = parsed_by_phonenumbers(texts, region, is_blocked)
    used = server.info("memory")["used_memory"] - empty
    server.flushall()
    return {"build_s": build_s, "text_s": text_s, "parsed_hits": hits, "bytes": used}


def rphonenumbers(folder: Path) -> dict[str, float]:
    """The fastest parser there is, and a Python set; the better of one set and a set for each country code.

    It is so fast that it reads all texts, as we do: the first half to warm up, the second timed.
    """
    import rphonenumbers as port

    numbers, texts, region = _questions(folder, most=None)
    parse: Callable[[str, str], Any] = port.parse
    started = time.perf_counter()
    blocked = set(numbers)
    build_s = time.perf_counter() - started
    by_code: defaultdict[int, set[int]] = defaultdict(set)
    for number in numbers:
        parsed = parse(f"+{number}", region)
        by_code[parsed.country_code].add(parsed.national_number)

    def by_one_set(some: list[str]) -> int:
        hits = 0
        for text in some:
            number = parse(text, region)
            if int(f"{number.country_code}{number.national_number}") in blocked:
                hits += 1
        return hits

    def by_country_code(some: list[str]) -> int:
        hits = 0
        for text in some:
            number = parse(text, region)
            if number.national_number in by_code[number.country_code]:
                hits += 1
        return hits

    middle = len(texts) // 2
    found: list[tuple[float, int]] = []
    for way in (by_one_set, by_country_code):
        hits = way(texts[:middle])
        started = time.perf_counter()
        hits += way(texts[middle:])
        found.append(((time.perf_counter() - started) / (len(texts) - middle), hits))
    if len({hits for _, hits in found}) != 1:
        raise SystemExit("the two ways answer differently")
    text_s, hits = min(found)
    return {"build_s": build_s, "text_s": text_s, "text_hits": hits}


def _questions(folder: Path, *, most: int | None = PARSED) -> tuple[list[int], list[str], str]:
    region: str = json.loads((folder / "about.json").read_text())["open"]["region"]
    texts = pq.read_table(folder / "asked.parquet").column("text").slice(0, most).to_pylist()
    return np.load(folder / "blocked.npy").tolist(), texts, region


# Whole columns


def screen_ours(folder: Path, repeats: int) -> dict[str, float]:
    """`Blocklist.screen`: number, blocked, level, category and reason of each row."""
    from blocklist_sdk import Blocklist

    column = pq.read_table(folder / "column.parquet").column("msisdn")
    blocklist = Blocklist.open(**json.loads((folder / "about.json").read_text())["open"])
    return _timed(lambda: int(pc.sum(blocklist.screen(column).column("blocked")).as_py()), repeats)


def screen_polars(folder: Path, repeats: int) -> dict[str, float]:
    """Regular expressions and a join; the better of a left join and `is_in`. Whether each row is blocked."""
    import polars as pl

    column = pl.read_parquet(folder / "column.parquet")
    blocked = pl.DataFrame({"number": np.load(folder / "blocked.npy")}).with_columns(blocked=pl.lit(True))
    digits = pl.col("msisdn").str.replace_all(r"[^0-9+]", "")
    number = (
        pl.when(digits.str.starts_with("+"))
        .then(digits.str.slice(1))
        .when(digits.str.starts_with("0"))
        .then(pl.concat_str(pl.lit("62"), digits.str.slice(1)))
        .otherwise(digits)
        .cast(pl.Int64, strict=False)
    )

    def by_join() -> int:
        frame = column.lazy().select(number=number).join(blocked.lazy(), on="number", how="left").collect()
        return int(frame["blocked"].sum())

    def by_is_in() -> int:
        return int(column.lazy().select(blocked=number.is_in(blocked["number"].implode())).collect()["blocked"].sum())

    return min((_timed(way, repeats) for way in (by_join, by_is_in)), key=lambda found: found["screen_s"])


def screen_duckdb(folder: Path, repeats: int) -> dict[str, float]:
    """The same in SQL; the better of `regexp_replace` and `translate`. Whether each row is blocked."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE asked AS SELECT msisdn FROM '{folder / 'column.parquet'}'")
    blocked = pa.table({"number": np.load(folder / "blocked.npy")})
    connection.execute("CREATE TABLE blocked AS SELECT number FROM blocked")
    del blocked

    def way(digits: str) -> Callable[[], int]:
        query = f"""
            SELECT number, b.number IS NOT NULL AS blocked
            FROM (
                SELECT TRY_CAST(CASE WHEN d[1] = '+' THEN d[2:] WHEN d[1] = '0' THEN '62' || d[2:] ELSE d END AS BIGINT)
                    AS number
                FROM (SELECT {digits} AS d FROM asked)
            ) a LEFT JOIN blocked b USING (number)
        """
        return lambda: int(pc.sum(connection.sql(query).to_arrow_table().column("blocked")).as_py())

    ways = (way("regexp_replace(msisdn, '[^0-9+]', '', 'g')"), way(f"translate(msisdn, '{SEPARATORS}', '')"))
    return min((_timed(each, repeats) for each in ways), key=lambda found: found["screen_s"])


def _timed(screen: Callable[[], int], repeats: int) -> dict[str, float]:
    """Once to warm up, then the median of the repeats."""
    hits = screen()
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        screen()
        seconds.append(time.perf_counter() - started)
    return {"screen_s": median(seconds), "hits": hits, "private": memory()[0]}


# Lists over HTTP


def over_http(folder: Path, repeats: int) -> dict[str, float]:
    """A list over HTTP, kept in memory: decisions as JSON into a dict, and CSV into a set; to the first answer."""
    import csv
    import io

    import httpx

    about = json.loads((folder / "http.json").read_text())

    def into_a_dict() -> bool:
        answer = httpx.get(f"{about['url']}/decisions.json", timeout=600)
        answer.raise_for_status()
        decisions = {decision["value"]: decision for decision in answer.json()["new"]}
        return about["text"] in decisions

    def into_a_set() -> bool:
        answer = httpx.get(f"{about['url']}/list.csv", timeout=600)
        answer.raise_for_status()
        rows = csv.reader(io.StringIO(answer.text))
        next(rows)
        return about["text"] in {row[0] for row in rows}

    found: dict[str, float] = {}
    for name, way in (("json", into_a_dict), ("csv", into_a_set)):
        seconds: list[float] = []
        for _ in range(repeats):
            started = time.perf_counter()
            if not way():
                raise SystemExit("a listed number was not found")
            seconds.append(time.perf_counter() - started)
        found[f"{name}_s"] = median(seconds)
    return found


if __name__ == "__main__":
    side, where, *rest = sys.argv[1:]
    sides: dict[str, Callable[..., dict[str, float]]] = {
        "sqlite": sqlite,
        "redis": redis,
        "rphonenumbers": rphonenumbers,
        "screen_ours": screen_ours,
        "screen_polars": screen_polars,
        "screen_duckdb": screen_duckdb,
        "over_http": over_http,
    }
    print(json.dumps(sides[side](Path(where), *map(int, rest))))
