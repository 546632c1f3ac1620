"""The public face: what it exports, and what importing it costs."""

import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import blocklist_sdk

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

PUBLIC = {
    "AsyncBlocklist",
    "AsyncExchangeClient",
    "Blocklist",
    "BlocklistError",
    "Blocklists",
    "Change",
    "ClientCredentials",
    "Entry",
    "ExchangeClient",
    "ExchangeError",
    "Explanation",
    "Guard",
    "Impact",
    "InvalidInput",
    "InvalidNumber",
    "Locked",
    "Malformed",
    "NotSynced",
    "Override",
    "PrivateKeyJwt",
    "Publisher",
    "Refused",
    "Stale",
    "Status",
    "StorageFailed",
    "SyncResult",
    "Unreachable",
    "Untrusted",
    "Verdict",
    "Verification",
    "__version__",
    "format_e164",
    "normalize",
    "operator_of",
}
"""What users may rely on. A change here goes with a line in CHANGELOG.md and a change in docs/reference/api/."""

HEAVY = ("anyio", "httpx", "opentelemetry", "tuf", "pyarrow", "numpy", "pydantic", "phonenumbers", "typer", "rich")
"""Packages that load when they are first needed, and not before."""


def test_the_exported_names_are_exactly_these() -> None:
    assert set(vars(blocklist_sdk)["__all__"]) == PUBLIC
    assert set(dir(blocklist_sdk)) == PUBLIC


def test_the_version_is_the_one_in_the_project_file() -> None:
    assert blocklist_sdk.__version__ == tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Blacklist'"):
        blocklist_sdk.Blacklist  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_of_the_tree_is_exported() -> None:
    from blocklist_sdk import errors

    defined = {
        value.__name__
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.BlocklistError)
    }
    assert defined <= PUBLIC


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import json, sys, blocklist_sdk; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint(HEAVY)
    assert "blocklist_sdk" in loaded


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (files("blocklist_sdk") / "py.typed").is_file()
