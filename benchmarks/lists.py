"""Generated lists on the Indonesian plan. No row stands for a real complaint; the same seed makes the same numbers."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

REGION = "ID"
QUESTIONS = 1_000_000
"""How many questions to ask at most; half of them about listed numbers."""

CHANGED = 10_000
"""Entries that differ between the two releases, at most: half of them go, half are new."""

SEED = 20_251
SUBSCRIBERS = 10**8
"""Subscriber numbers behind a prefix such as 0812, eight digits: the longest that operators give out today."""

DAY_MS = 86_400_000
OLDEST_DAYS = 365
CATEGORIES = (("fraud", 0.6), ("phishing", 0.2), ("loan", 0.15), ("gambling", 0.05))
LEVELS = (("block", 0.9), ("advisory", 0.1))
SCOPES = (("sms+voice", 0.7), ("messaging+sms+voice", 0.2), ("sms", 0.1))
LIFETIMES_DAYS = ((180, 0.6), (365, 0.3), (0, 0.1))
"""How long entries stand, and the share of each; 0 is without an end."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Two releases, and questions about the second.

    Attributes:
        first: the first release's rows as the publisher takes them, in random order and with entry ids in that order.
        second: the same, less and more a few.
        changed: entries that differ.
        blocked: the numbers that the second blocks today, ascending.
        asked: questions in random order, half of them about numbers on the second release.
        texts: the same as people write them, in six formats.
        universe: how many numbers the plan allows of this form; the lists are drawn from them, each as likely.
    """

    first: Any
    second: Any
    changed: int
    blocked: Int64s
    asked: Int64s
    texts: list[str]
    universe: int


def make_lists(rows: int) -> Lists:
    """Make the lists; takes about a second for a million rows.

    Args:
        rows: on each release.
    """
    rng = np.random.default_rng(SEED)
    half = min(CHANGED // 2, rows // 10)
    questions = min(QUESTIONS, 2 * rows)
    prefixes = mobile_prefixes()
    universe = len(prefixes) * SUBSCRIBERS
    wanted = rows + half + questions // 2
    place = rng.permutation(np.unique(rng.integers(universe, size=wanted + wanted // 50 + 100)))[:wanted]
    number = prefixes[place // SUBSCRIBERS] * SUBSCRIBERS + place % SUBSCRIBERS
    every, unlisted = number[: rows + half], number[rows + half :]

    today_ms = int(datetime.now(UTC).timestamp() * 1000) // DAY_MS * DAY_MS
    lifetime = np.array([days for days, _ in LIFETIMES_DAYS])[draw(rng, LIFETIMES_DAYS, len(every))]
    # Nearly all are in force, as on a list that is kept; those that end today are not.
    since = today_ms - rng.integers(1, np.where(lifetime, lifetime, OLDEST_DAYS) + 1) * DAY_MS
    until = since + lifetime * DAY_MS
    level = draw(rng, LEVELS, len(every))
    moment = pa.timestamp("ms", "UTC")
    whole = pa.table(
        {
            "number": every,
            # In the order in which complaints were confirmed, which has nothing to do with the numbers.
            "entry": np.arange(1, len(every) + 1),
            "level": _texts(level, LEVELS),
            "category": _texts(draw(rng, CATEGORIES, len(every)), CATEGORIES),
            "scope": _texts(draw(rng, SCOPES, len(every)), SCOPES),
            "since": pa.array(since).cast(moment),
            "until": pa.array(until, mask=lifetime == 0).cast(moment),
        }
    )
    is_blocked = (level == 0) & ((lifetime == 0) | (until > today_ms))
    listed = rng.choice(every[half:], questions - questions // 2, replace=False)
    asked = rng.permutation(np.concatenate((listed, unlisted)))
    return Lists(
        first=whole[:rows],
        second=whole[half:],
        changed=2 * half,
        blocked=np.sort(every[half:][is_blocked[half:]]),
        asked=asked,
        texts=[written(number, i % 6) for i, number in enumerate(asked.tolist())],
        universe=universe,
    )


def make_column(lists: Lists, rows: int) -> Any:
    """A column of distinct texts in the same six formats, in random order, half of them about listed numbers.

    Args:
        lists: what is listed.
        rows: how many; at most as many as are listed.
    """
    rng = np.random.default_rng(SEED + 1)
    listed = lists.second.column("number").to_numpy()
    half = rows // 2
    other = mobile_prefixes()[rng.integers(len(mobile_prefixes()), size=rows - half)] * SUBSCRIBERS + rng.integers(
        SUBSCRIBERS, size=rows - half
    )
    number = rng.permutation(np.concatenate((rng.choice(listed, half, replace=False), other)))
    return written_column(number).take(rng.permutation(rows))


def written_column(number: Int64s) -> Any:
    """Numbers as people write them, in six formats by turns; the texts of each format stand together.

    Args:
        number: E.164 integers.
    """
    parts = []
    for form in range(6):
        national = pc.utf8_slice_codeunits(pa.array(number[form::6]).cast(pa.string()), 2)
        a, b, c = (pc.utf8_slice_codeunits(national, start, stop) for start, stop in ((0, 3), (3, 7), (7, None)))
        pieces: tuple[Any, ...] = (
            ("+62", national),
            ("0", national),
            ("62", national),
            ("0", a, "-", b, "-", c),
            ("+62 ", a, " ", b, " ", c),
            ("(0", a, ") ", b, ".", c),
        )[form]
        parts.append(pc.binary_join_element_wise(*pieces, ""))
    return pa.concat_arrays(parts)


def mobile_prefixes() -> Int64s:
    """The four-digit mobile prefixes (0812 is 62812) of the library's table."""
    text = resources.files("blocklist_sdk.numbers").joinpath("data/id.csv").read_text(encoding="utf-8")
    found = [(row["first"], row["last"]) for row in csv.DictReader(text.splitlines())]
    spans = [range(int(first), int(last) + 1) for first, last in found if len(first) == 5]
    return np.array(sorted({prefix for span in spans for prefix in span}), np.int64)


def draw(rng: np.random.Generator, shares: tuple[tuple[Any, float], ...], count: int) -> Int64s:
    """Positions in `shares`, each as often as its share says."""
    return np.searchsorted(np.cumsum([share for _, share in shares])[:-1], rng.random(count), "right")


def _texts(codes: Int64s, shares: tuple[tuple[str, float], ...]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), [text for text, _ in shares])


def written(number: int, form: int) -> str:
    """One number as people write it."""
    national = str(number)[2:]
    a, b, c = national[:3], national[3:7], national[7:]
    return (
        f"+62{national}",
        f"0{national}",
        f"62{national}",
        f"0{a}-{b}-{c}",
        f"+62 {a} {b} {c}",
        f"(0{a}) {b}.{c}",
    )[form]
