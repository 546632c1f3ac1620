"""The protocol's vectors: in a clone below `docs/protocol`, in an installed package beside this module."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from blocklist_sdk.errors import InvalidInput

_HERE: Final = Path(__file__).parent
PLACES: Final = (_HERE / "vectors", _HERE.parents[2] / "docs" / "protocol" / "vectors")
"""A wheel has a copy of the second folder as the first one; what is in the repository is there once."""

LEFT_OUT: Final = frozenset({"look-ups", "digest", "plans", "numbers"})
"""The actions that a reader need not offer."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a reader is asked, step by step, and must answer.

    Attributes:
        name: its name.
        group: what kind of case it is.
        about: what it shows, in a sentence.
        required: whether a reader must pass it.
        steps: the steps, as in `readers/cases.json`.
    """

    name: str
    group: str
    about: str
    required: bool
    steps: tuple[dict[str, Any], ...] = field(repr=False)

    @property
    def may_be_left_out(self) -> bool:
        """Whether a reader may say that it does not do what the case asks. If it does it, it must do it right."""
        return any(step["do"] in LEFT_OUT for step in self.steps)


@cache
def folder() -> Path:
    """The folder of the vectors.

    Raises:
        InvalidInput: this installation does not have them.
    """
    for place in PLACES:
        if (place / "readers" / "cases.json").is_file():
            return place
    raise InvalidInput(
        "this installation of blocklist-sdk has no vectors of the protocol: install its wheel, or use a clone"
    )


@cache
def cases() -> tuple[Case, ...]:
    """Every case: those of repositories, then digests, plans and number reading.

    Raises:
        InvalidInput: this installation does not have them.
    """
    found = [
        Case(each["name"], each["group"], _about(each), each["required"], tuple(each["steps"]))
        for each in _document(folder() / "readers" / "cases.json")["cases"]
    ]
    found += [
        Case(path.stem, "digest", vector["description"], False, ({"do": "digest", **vector},))
        for path in sorted(folder().glob("*.json"))
        for vector in [_document(path)]
    ]
    for name in ("plans", "numbers"):
        document = _document(folder() / "readers" / f"{name}.json")
        found.append(Case(name, name, document["about"], False, ({"do": name, "asked": document[name]},)))
    return tuple(found)


def _about(case: dict[str, Any]) -> str:
    reason = case.get("reason")
    return f"must be refused: {reason}" if reason else str(case["about"])


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def file_of(layers: list[str], path: str) -> bytes | None:
    """A file of a repository that lies in layers: that of the last one that has it; None if none has.

    Args:
        layers: names of folders below `repositories/`.
        path: the file's path below the repository.
    """
    if any(part in ("", ".", "..") for part in path.split("/")):
        return None
    for layer in reversed(layers):
        found = folder() / "repositories" / layer / path
        if found.is_file():
            return found.read_bytes()
    return None
