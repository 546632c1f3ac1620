"""The map of the code is true: the parts are those of the import plan, and modules that documents name exist."""

import ast
import re
from pathlib import Path

import pytest

from support.import_plan import MAY_IMPORT, PACKAGE

ROOT = Path(__file__).parents[1]
MAINTAINERS = ROOT / "docs" / "maintainers"
ARCHITECTURE = (MAINTAINERS / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

LAYERS = re.compile(r"<!-- layers -->\n```text\n(.*?)```", re.DOTALL)
PARTS = re.compile(r"<!-- parts -->\n(.*?)\n\n", re.DOTALL)
MODULE = re.compile(r"`((?:\w+/)*\w+\.py)(?:: ([\w.]+))?`")


def layers(text: str) -> list[set[str]]:
    """From the top down."""
    found = LAYERS.search(text)
    assert found
    return [set(line.split()) for line in found[1].splitlines()]


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "CONTRIBUTING"])
def test_layers_are_those_of_the_import_plan(text: str) -> None:
    below: set[str] = set()
    for layer in reversed(layers(text)):
        for room, targets in MAY_IMPORT.items():
            part = room.partition("/")[0]
            others = {target.partition("/")[0] for target in targets} - {part}
            assert part not in layer or others <= below, f"{part} imports {sorted(others - below)}, which is not below"
        below |= layer
    assert below == {room.partition("/")[0] for room in MAY_IMPORT} - {"__init__"}


def test_every_part_is_described() -> None:
    found = PARTS.search(ARCHITECTURE)
    assert found
    rows = [line.split("|")[1] for line in found[1].splitlines()[2:]]
    assert sorted(name for row in rows for name in re.findall(r"`([\w/]+)`", row)) == sorted(MAY_IMPORT)


@pytest.mark.parametrize("page", sorted(MAINTAINERS.glob("*.md")), ids=lambda page: page.name)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    for module, name in MODULE.findall(page.read_text(encoding="utf-8")):
        path = next((folder / module for folder in (PACKAGE, ROOT) if (folder / module).is_file()), None)
        assert path, module
        assert not name or name.partition(".")[0] in names_in(path), f"{module}: {name}"


def names_in(path: Path) -> set[str]:
    """What a module defines."""
    defined = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def test_where_to_change_answers_nineteen_questions() -> None:
    page = (MAINTAINERS / "where-to-change.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 19
    for row in rows:
        assert MODULE.search(row)
        assert all((PACKAGE / folder).is_dir() for folder in re.findall(r"`((?:\w+/)+)`", row))
