"""Imports follow the plan in `support/import_plan.py`: downwards only, and libraries stay behind their borders."""

from pathlib import Path

import pytest

import support
from support.import_plan import BORDERS, MAY_IMPORT, MODULES, PACKAGE, arrows, circles, floors, imported, room_of

ARROWS = arrows()

APART = [
    ("exchange", "exchange_server"),
    ("exchange_server/casework", "exchange_server/http"),
    ("recipient", "publisher"),
    ("publisher", "recipient"),
]
"""A room, and one that neither it nor anything that it imports may know."""


def test_a_room_imports_only_what_the_plan_allows() -> None:
    assert {room: beyond for room in MAY_IMPORT if (beyond := ARROWS[room] - MAY_IMPORT[room])} == {}


def test_every_module_is_in_a_room_of_the_plan() -> None:
    assert {room_of(path) for path in MODULES} == MAY_IMPORT.keys()


def test_the_plan_has_floors() -> None:
    """Imports run downwards only: a plan with a circle has no floors."""
    assert floors(MAY_IMPORT)


@pytest.mark.parametrize(("room", "other"), APART)
def test_wings_do_not_know_each_other(room: str, other: str) -> None:
    reached, pending = set(), [name for name in MAY_IMPORT if name == room or name.startswith(f"{room}/")]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(MAY_IMPORT[name])
    assert not [name for name in reached if name == other or name.startswith(f"{other}/")]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles() == []


def test_a_library_stays_behind_its_border() -> None:
    importers: dict[str, set[str]] = {library: set() for library in BORDERS}
    for path in MODULES:
        for library in BORDERS.keys() & {target.partition(".")[0] for target in imported(path)}:
            importers[library].add(path.relative_to(PACKAGE).as_posix())
    assert [library for library in BORDERS if not importers[library]] == []
    beyond = {
        (library, module)
        for library, borders in BORDERS.items()
        for module in importers[library]
        if module not in borders and not module.startswith(_folders(tuple(borders)))
    }
    assert beyond == set()


def _folders(borders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(border for border in borders if border.endswith("/"))


def test_every_helper_of_the_tests_is_listed() -> None:
    helpers = {path.stem for path in Path(support.__file__).parent.glob("*.py")} - {"__init__"}
    assert {helper for helper in helpers if f"`{helper}`" not in (support.__doc__ or "")} == set()
