"""How much is done: a little in every test run, much under `make chaos`, which runs whatever imports this."""

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Tally = Callable[..., None]
"""What the fixture `tally` gives: counts, by name."""

LONG = os.environ.get("BLOCKLIST_CHAOS") == "long"


def scaled(short: T, *, long: T) -> T:
    return long if LONG else short
