"""The public face: what it exports, what importing it costs, and that imports run downwards only."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

import blocklist_sdk

PACKAGE = Path(blocklist_sdk.__file__).parent
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = sorted(PACKAGE.rglob("*.py"))

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
"""What users may rely on. A change here goes with a line in CHANGELOG.md and a change in docs/api.md."""

HEAVY = ("anyio", "httpx", "opentelemetry", "tuf", "pyarrow", "numpy", "pydantic", "phonenumbers", "typer", "rich")
"""Packages that load when they are first needed, and not before."""

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "addresses": set(),
    "errors": set(),
    "retry_after": set(),
    "records": set(),
    "disk": {"errors"},
    "locks": set(),
    "numbers": {"errors", "locks"},
    "release": {"disk", "errors", "numbers"},
    "tabular": {"errors"},
    "verdicts": {"records"},
    "rules": {"records"},
    "cache": {"disk", "errors", "numbers", "records", "release", "rules"},
    "screening": {"cache", "disk", "errors", "numbers", "records", "release", "rules", "tabular", "verdicts"},
    "guard": {"errors", "numbers", "records", "release"},
    "changes": {"cache", "records", "release", "rules"},
    "outcomes": {"errors", "records"},
    "sync": {"addresses", "cache", "disk", "errors", "guard", "outcomes", "records", "release", "retry_after"},
    "background": {"cache", "errors", "outcomes", "records", "sync"},
    "in_force": {"cache", "disk", "errors", "locks", "release", "rules"},
    "blocklist": {"cache", "changes", "errors", "guard", "in_force", "numbers", "records", "release"}
    | {"background", "outcomes", "rules", "screening", "sync", "verdicts"},
    "aio": {"blocklist", "guard", "in_force", "records", "sync"},
    "metrics": {"disk", "errors", "outcomes", "records"},
    "otel": {"errors", "outcomes", "records"},
    "blocklists": {"blocklist", "errors", "records", "screening"},
    "publisher": {"disk", "errors", "numbers", "records", "release", "tabular"},
    "demo": {"blocklist", "disk", "errors", "numbers", "publisher", "records", "release"},
    "mirror": {"disk", "errors", "publisher", "release", "sync"},
    "exchange": {"addresses", "disk", "errors", "locks", "numbers", "publisher", "records", "release", "retry_after"},
    "enforcement": {"blocklist", "cache", "disk", "errors", "exchange", "numbers", "records", "release", "rules"}
    | {"addresses", "retry_after", "screening"},
    "testing": {"enforcement", "records", "release"},
    "sandbox": {"blocklist", "disk", "errors", "exchange", "numbers", "records"},
    "cli": {"blocklist", "changes", "demo", "disk", "errors", "mirror", "numbers", "publisher", "records", "release"}
    | {"addresses", "enforcement", "exchange", "metrics", "outcomes", "sandbox", "screening"},
}
"""The rooms of the house, and which others each may know. The recipient's wing and the publisher's share the ground
floor and do not know each other."""

BORDERS: dict[str, set[str]] = {
    "httpx": {"sync/transport.py", "sync/file_urls.py", "exchange/", "enforcement/sinks/"},
    "tenacity": {"sync/transport.py", "exchange/", "enforcement/"},
    "tuf": {"sync/trust.py", "sync/contents.py", "sync/evidence.py", "publisher/"},
    "securesystemslib": {"publisher/"},
    "filelock": {"cache/store.py", "enforcement/ledger.py", "exchange/server/", "mirror/folder.py", "publisher/"},
    "phonenumbers": {"numbers/", "demo/"},
    "pydantic": {"release/index.py", "exchange/"},
    "fastapi": {"exchange/server/"},
    "sqlalchemy": {"exchange/server/"},
    "joserfc": {"exchange/"},
    "argon2": {"exchange/server/"},
    "typer": {"cli/"},
    "rich": {"cli/", "demo/"},
    "anyio": {"aio.py", "exchange/"},
    "limits": {"exchange/server/"},
    "uvicorn": {"exchange/server/"},
    "redis": {"enforcement/sinks/"},
    "psycopg": {"enforcement/sinks/"},
    "confluent_kafka": {"enforcement/sinks/"},
    "opentelemetry": {"otel.py"},
}
"""Where each library of others may be imported: the day it is replaced, it is those files."""


def test_the_exported_names_are_exactly_these() -> None:
    assert set(blocklist_sdk.__all__) == PUBLIC
    assert set(dir(blocklist_sdk)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(blocklist_sdk, name) is not None


def test_the_version_is_the_one_in_the_project_file() -> None:
    assert blocklist_sdk.__version__ == tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Blacklist'"):
        blocklist_sdk.Blacklist  # noqa: B018


def test_every_error_of_the_tree_is_exported() -> None:
    from blocklist_sdk import errors

    defined = {
        name
        for name, value in vars(errors).items()
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_downwards_only(path: Path) -> None:
    room = room_of(path)
    known = {target.split(".")[1] for target in imported(path) if target.startswith("blocklist_sdk.")}
    assert known - {room, "__version__"} <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_libraries_of_others_stay_behind_their_borders(path: Path) -> None:
    here = path.relative_to(PACKAGE).as_posix()
    for target in imported(path):
        allowed = BORDERS.get(target.partition(".")[0])
        if allowed is not None:
            assert any(here == place or (place.endswith("/") and here.startswith(place)) for place in allowed), target


def test_every_room_is_in_the_plan() -> None:
    assert {room_of(path) for path in MODULES} <= MAY_IMPORT.keys()


def room_of(path: Path) -> str:
    """The room a module is in: the directory or file right under the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """What a module imports when it runs, inside functions too; imports for type checkers alone do not count."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be followed by eye"
            # `from blocklist_sdk import x` may mean a module: the dotted name covers both.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
        else:
            pending.extend(ast.iter_child_nodes(node))
