"""Imports follow the plan in `support/import_plan.py`: downwards only, and libraries stay behind their borders."""

import pytest

from support.import_plan import BORDERS, MAY_IMPORT, MODULES, PACKAGE, arrows, circles, floors, imported, room_of

ARROWS = arrows()

APART = [
    ("exchange", "exchange_server"),
    ("exchange_server/casework", "exchange_server/http"),
    ("recipient", "publisher"),
    ("publisher", "recipient"),
]
"""A room, and one that neither it nor anything that it imports may know."""


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_plan_allows(room: str) -> None:
    assert ARROWS[room] <= MAY_IMPORT[room]


def test_every_module_is_in_a_room_of_the_plan() -> None:
    assert {room_of(path) for path in MODULES} == MAY_IMPORT.keys()


def test_the_plan_has_floors() -> None:
    """So imports run downwards only: with a circle in the plan there would be none."""
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


@pytest.mark.parametrize("library", BORDERS)
def test_a_library_stays_behind_its_border(library: str) -> None:
    places = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        if any(target.partition(".")[0] == library for target in imported(path))
    }
    borders = tuple(BORDERS[library])
    beyond = {place for place in places if place not in borders and not place.startswith(_folders(borders))}
    assert places
    assert not beyond


def _folders(borders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(border for border in borders if border.endswith("/"))
