"""The pins in `requirements/`: hashes, no address of an index, and one version of each package in all files."""

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "requirements").glob("*.txt"))

PIN = re.compile(
    r"^(?P<package>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[\w.]+)(?: ; (?P<marker>[^\\]+))? \\$", re.MULTILINE
)
"""The backslash at its end: hashes follow."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_package_is_pinned_with_hashes_and_from_no_named_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    requirements = re.findall(r"^[^\s#].*$", text, re.MULTILINE)
    assert requirements
    assert [line for line in requirements if not PIN.match(line)] == []
    assert "://" not in text


def test_a_package_has_one_version_in_all_files() -> None:
    """They are installed into one environment one after the other, so that tests run with what was tested."""
    versions: dict[str, set[str]] = {}
    for path in FILES:
        for pin in PIN.finditer(path.read_text(encoding="utf-8")):
            versions.setdefault(f"{pin['package']} ; {pin['marker']}", set()).add(pin["version"])
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}
