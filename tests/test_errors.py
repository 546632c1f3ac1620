"""Every error of the tree can be sent to another process and copied."""

import copy
import inspect
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.BlocklistError)]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ExchangeError": {"status": 403, "problem": {"title": "no"}},
    "Locked": {"path": Path("lock")},
    "NotPermitted": {"url": "https://lists.example", "status": 403},
    "Stale": {"role": "timestamp", "expired": datetime(2026, 1, 2, tzinfo=UTC)},
    "StorageFailed": {"path": Path("cache")},
    "Unreachable": {"url": "https://lists.example", "status": 503, "retry_after": 2.5},
}


def example(kind: type[errors.BlocklistError]) -> errors.BlocklistError:
    if kind is errors.InvalidNumber:
        return errors.InvalidNumber("GoPay", "it contains letters")
    return kind("what happened", **ARGUMENTS.get(kind.__name__, {}))


@pytest.mark.parametrize(
    "copied",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deep"],
)
def test_every_error_survives_being_copied(copied: Callable[[errors.BlocklistError], errors.BlocklistError]) -> None:
    for kind in KINDS:
        error = example(kind)
        error.add_note("seen in a worker")
        other = copied(error)
        assert type(other) is kind
        assert (str(other), other.args, other.__dict__) == (str(error), error.args, error.__dict__)
