"""Checks of what is installed: Python, this package, and whether its dependencies are new enough to be safe."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from blocklist_sdk import __version__
from blocklist_sdk.doctor.findings import Finding, fail, ok
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.errors import InvalidInput

_DISTRIBUTION: Final = "blocklist-sdk"
_PYTHON_MIN: Final = (3, 11)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?[^;]*?>=\s*([0-9][0-9.]*)")


def versions(patient: Patient) -> Iterator[Finding]:
    """Whether Python and each package is at least of the version that the package asks for.

    The lowest versions exclude those with known vulnerabilities.
    """
    name = "versions"
    python = platform.python_version()
    if sys.version_info < _PYTHON_MIN:
        yield fail(name, InvalidInput(f"Python {python} is too old"), "install Python 3.11 or later")
    outdated = [
        (package, installed, floor)
        for package, floor in floors().items()
        if (installed := installed_version(package)) is not None and is_older(installed, floor)
    ]
    for package, installed, floor in outdated:
        error = InvalidInput(f"{package} {installed} is older than {floor}; older versions have known faults")
        yield fail(name, error, f"pip install '{package}>={floor}'")
    if not outdated:
        yield ok(name, f"{_DISTRIBUTION} {__version__}, Python {python}; no package is older than it may be")


def floors() -> dict[str, str]:
    """The lowest version that may be installed of each package, extras included; empty where that is not known."""
    try:
        lines = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        return {}
    return {found[1]: found[2] for line in lines if (found := _REQUIREMENT.match(line))}


def installed_version(package: str) -> str | None:
    """The version of an installed package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def is_older(installed: str, floor: str) -> bool:
    """Whether a version is below another, by the numbers at its beginning.

    >>> is_older("7.0.0", "7.0.1"), is_older("7.0.10", "7.0.9"), is_older("8.0rc1", "7.2"), is_older("2", "2.0.0")
    (True, False, False, False)
    """
    numbers = [[int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", text)[0])] for text in (installed, floor)]
    width = max(map(len, numbers))
    own, lowest = (each + [0] * (width - len(each)) for each in numbers)
    return own < lowest
