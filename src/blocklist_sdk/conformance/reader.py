"""This library as a reader of the kit: `python -m blocklist_sdk.conformance.reader ACTION`."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from blocklist_sdk.cli.exit_codes import FAILED, FINE
from blocklist_sdk.errors import (
    BlocklistError,
    InvalidInput,
    InvalidNumber,
    Locked,
    Malformed,
    NotSynced,
    Refused,
    Stale,
    StorageFailed,
    Unreachable,
    Untrusted,
)
from blocklist_sdk.numbers import Form, normalize
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.recipient.sync.admission import files_of
from blocklist_sdk.recipient.sync.planner import plan
from blocklist_sdk.release.arrow import SCHEMA, from_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.testing import fake_clock

_KINDS: Final[dict[type[BlocklistError], str]] = {
    Untrusted: "untrusted",
    Malformed: "malformed",
    Stale: "stale",
    Unreachable: "unreachable",
    NotSynced: "not-synced",
    Refused: "refused",
    Locked: "locked",
    StorageFailed: "storage",
    InvalidInput: "invalid",
}

_URL: Final = "url"
"""The name of a file in the cache with the address that was synced from, since questions come without one."""


def answer(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of this library to what the kit asks; it is a `Reader`.

    >>> answer("digest", {"rows": []})["digest"][:9]
    'tree-6149'
    """
    try:
        return _ACTIONS[action](document)
    except BlocklistError as error:
        return _refusal(error)


def _refusal(error: BlocklistError) -> dict[str, Any]:
    return {"error": next(_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS), "message": str(error)}


def _sync(document: Mapping[str, Any]) -> dict[str, Any]:
    cache = Path(document["cache"])
    cache.mkdir(parents=True, exist_ok=True)
    (cache / _URL).write_text(json.dumps([document["url"], document["root"]]), encoding="utf-8")
    with fake_clock() as clock:
        clock.set(datetime.fromisoformat(document["now"]))
        with Blocklist.open(
            document["url"], feed=document["feed"], root=document["root"], cache_dir=cache, guard=None
        ) as blocklist:
            blocklist.sync()
            status = blocklist.status()
            return {"serial": status.serial, "digest": status.digest}


def _check(document: Mapping[str, Any]) -> dict[str, Any]:
    with _opened(document) as blocklist:
        verdicts = [blocklist.check(each["number"], scope=each["scope"]) for each in document["questions"]]
        status = blocklist.status()
        answers = [{"blocked": verdict.blocked, "reason": verdict.reason} for verdict in verdicts]
        return {"serial": status.serial, "stale": status.stale, "answers": answers}


def _look_ups(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"answers": [_look_up(document, **each) for each in document["questions"]]}


def _look_up(document: Mapping[str, Any], text: str, region: str | None, form: Form, scope: Any) -> dict[str, Any]:
    with _opened(document, region=region, form=form) as blocklist:
        try:
            verdict = blocklist.check(text, scope=scope)
        except InvalidNumber as error:
            return {"invalid": error.reason}
        return {"blocked": verdict.blocked, "reason": verdict.reason}


@contextmanager
def _opened(document: Mapping[str, Any], *, region: str | None = None, form: Form = "auto") -> Iterator[Blocklist]:
    """The list in the cache, at the moment that the document names."""
    cache = Path(document["cache"])
    try:
        url, root = json.loads((cache / _URL).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotSynced("nothing was synced into this cache") from error
    with fake_clock() as clock:
        clock.set(datetime.fromisoformat(document["now"]))
        with Blocklist.open(
            url, feed=document["feed"], root=root, cache_dir=cache, region=region, form=form
        ) as blocklist:
            yield blocklist


def _digest(document: Mapping[str, Any]) -> dict[str, Any]:
    rows = document["rows"]
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
    return {"digest": digest(from_table(pa.Table.from_arrays(columns, schema=SCHEMA)))}


def _plans(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"answers": [_plan(**each) for each in document["plans"]]}


def _plan(have: Mapping[str, Any] | None, era: int, index: Mapping[str, Any]) -> dict[str, Any]:
    try:
        read = FeedIndex.from_json(json.dumps(index).encode(), feed=index["feed"])
        if have is not None and have["era"] != era and read.find(have["serial"]) is None:
            have = None
        planned = plan(
            read, serial=None if have is None else have["serial"], digest=None if have is None else have["digest"]
        )
    except BlocklistError as error:
        return _refusal(error)
    return {"files": [file.path for file in files_of(planned)]}


def _numbers(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"answers": [_number(**each) for each in document["texts"]]}


def _number(text: str, region: str | None, form: Form) -> dict[str, Any]:
    try:
        return {"number": normalize(text, region=region, form=form)}
    except InvalidNumber as error:
        return {"invalid": error.reason}


_ACTIONS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "sync": _sync,
    "check": _check,
    "look-ups": _look_ups,
    "digest": _digest,
    "plans": _plans,
    "numbers": _numbers,
}


def main() -> int:
    """Answer one document; returns the exit code."""
    answered = answer(sys.argv[1], json.load(sys.stdin))
    json.dump(answered, sys.stdout)
    return FAILED if "error" in answered else FINE


if __name__ == "__main__":
    sys.exit(main())
