"""Everything generated that the stories use. No number is from anybody's list, and all is the same on every machine."""

import csv
import struct
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.numbers import format_e164

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import NewReport

REGION: Final = "ID"

ACCOUNTS: Final[dict[str, tuple[str, ...]]] = {
    "hotline": ("report",),
    "officer": ("officer",),
    "second-officer": ("officer",),
    "publisher": ("publish",),
    "telkomsel": ("report", "receipt", "feed:id-telkomsel"),
    "indosat": ("report", "receipt", "feed:id-indosat"),
    "chat": ("report", "receipt", "feed:id-messaging"),
}
"""The accounts of the sandbox and their scopes: where the public complains, two officers, the publisher, two operators
and a messaging provider."""

RECIPIENTS: Final = {"telkomsel": "id-telkomsel", "indosat": "id-indosat", "chat": "id-messaging"}
"""The sandbox's recipients, and the feed of each."""

_SEED = 20_250_416

_PREFIXES = (811, 812, 813, 821, 822, 852, 853, 814, 815, 816, 855, 856, 857, 817, 818, 819, 859, 877, 878, 881, 882)
"""Mobile prefixes of the three large operators; ``numbers/data/id.csv`` lists them all with their sources."""

_RECIPIENTS_PREFIXES = (812, 813, 815)
"""Prefixes of the operators that take part in the sandbox."""

_SUBSCRIBER_DIGITS = 8
"""Digits after the prefix; with the trunk 0 that makes the 12 digits that are usual today."""

_CATEGORIES = {"fraud": 0.7, "impersonation": 0.15, "phishing": 0.1, "gambling": 0.05}


def generate_numbers(count: int, *, prefixes: Sequence[int] = _PREFIXES) -> NDArray[np.int64]:
    """Distinct E.164 integers in random order, the same ones on every call.

    >>> generate_numbers(3).tolist() == generate_numbers(3).tolist()
    True
    """
    random = np.random.default_rng(_SEED)
    numbers = np.empty(0, np.int64)
    while len(numbers) < count:
        prefix = np.resize(np.array(prefixes, np.int64), count)
        subscriber = random.integers(0, 10**_SUBSCRIBER_DIGITS, count)
        drawn = (62_000 + prefix) * 10**_SUBSCRIBER_DIGITS + subscriber
        numbers = np.unique(np.concatenate((numbers, drawn)))
    return random.permutation(numbers)[:count]


def write_generated(path: Path, count: int) -> None:
    """Write a list of generated numbers as an authority may keep it: CSV, numbers in national form."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("number", "category"))
        writer.writerows(
            (f"0{number % 10**11}", category)
            for number, category in zip(generate_numbers(count).tolist(), _categories(count), strict=True)
        )


def generate_reports(count: int, *, happened_at: datetime) -> list["NewReport"]:
    """Reports on as many distinct numbers of the sandbox's operators."""
    from blocklist_sdk.exchange.models import NewReport

    numbers = generate_numbers(count, prefixes=_RECIPIENTS_PREFIXES).tolist()
    return [
        NewReport(
            number=format_e164(number),
            category=category,
            channel="sms",
            text="generated",
            happened_at=happened_at,
            reporter=f"caller-{i}",
        )
        for i, (number, category) in enumerate(zip(numbers, _categories(count), strict=True))
    ]


def screenshot(seed: int = 0) -> bytes:
    """A small PNG, in place of a screenshot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = b"".join(b"\0" + np.random.default_rng((seed, row)).bytes(8) for row in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def _categories(count: int) -> list[str]:
    random = np.random.default_rng(_SEED)
    categories: list[str] = random.choice(list(_CATEGORIES), count, p=list(_CATEGORIES.values())).tolist()
    return categories
