"""How much tests do: a little in every run, much in `make chaos`, which runs the modules that import this one."""

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Tally = Callable[..., None]
"""What the fixture `tally` gives: counts, by name."""

LONG = os.environ.get("BLOCKLIST_CHAOS") == "long"


def scaled(short: T, *, long: T) -> T:
    return long if LONG else short
