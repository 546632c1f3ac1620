"""Generated numbers on the Indonesian plan, for the demonstration: nobody's list, the same on every machine."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REGION = "ID"

_SEED = 20_250_416

_PREFIXES = (811, 812, 813, 821, 822, 852, 853, 814, 815, 816, 855, 856, 857, 817, 818, 819, 859, 877, 878, 881, 882)
"""Mobile prefixes of the three large operators; ``numbers/data/id.csv`` has them all with their sources."""

_SUBSCRIBER_DIGITS = 8
"""After the prefix; with the trunk 0 that makes the 12 digits that are usual today."""

_CATEGORIES = {"fraud": 0.7, "impersonation": 0.15, "phishing": 0.1, "gambling": 0.05}


def generate_numbers(count: int) -> NDArray[np.int64]:
    """Distinct E.164 integers in random order, the same ones on every call.

    >>> generate_numbers(3).tolist() == generate_numbers(3).tolist()
    True
    """
    random = np.random.default_rng(_SEED)
    numbers = np.empty(0, np.int64)
    while len(numbers) < count:
        prefix = random.choice(np.array(_PREFIXES, np.int64), count)
        subscriber = random.integers(0, 10**_SUBSCRIBER_DIGITS, count)
        drawn = (62_000 + prefix) * 10**_SUBSCRIBER_DIGITS + subscriber
        numbers = np.unique(np.concatenate((numbers, drawn)))
    return random.permutation(numbers)[:count]


def write_generated(path: Path, count: int) -> None:
    """Write a list of generated numbers as an authority may keep it: CSV, numbers in national form."""
    categories = np.random.default_rng(_SEED).choice(list(_CATEGORIES), count, p=list(_CATEGORIES.values()))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("number", "category"))
        writer.writerows(
            (f"0{number % 10**11}", category)
            for number, category in zip(generate_numbers(count).tolist(), categories.tolist(), strict=True)
        )
