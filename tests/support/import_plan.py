"""The rooms of the house and who may import whom; `python -m support.import_plan` in `tests/` prints what is so today.

A room is a module or package of `src/blocklist_sdk`. Where a package has rooms inside, such as `recipient/cache`, the
longest name that fits is a module's room.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import blocklist_sdk

PACKAGE = Path(blocklist_sdk.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

_GROUND = {
    *("disk", "encodings", "errors", "lazy", "locks", "modes", "places", "records", "tables", "texts", "times"),
}
_ASKED = {"recipient/cache", "recipient/rules", "recipient/verdicts"}
_FETCHED = {"fetch", "net", "recipient/guard", "recipient/sync_outcomes"}
_WING = (
    _ASKED
    | _FETCHED
    | {"recipient/background", "recipient/changes", "recipient/current_list", "recipient/screening", "recipient/upkeep"}
)

MAY_IMPORT: dict[str, set[str]] = {
    # The ground floor
    "__init__": {"lazy"},
    "errors": {"texts"},
    "lazy": set(),
    "records": set(),
    "texts": set(),
    "times": set(),
    "encodings": {"errors"},
    "places": {"errors"},
    "disk": {"errors", "modes", "places"},
    "locks": {"disk", "errors", "modes"},
    "modes": {"errors"},
    "tables": {"disk", "errors", "lazy", "modes", "places", "texts"},
    "numbers": {"errors", "lazy", "locks", "texts"},
    "release": _GROUND | {"numbers"},
    "net": _GROUND,
    "fetch": _GROUND | {"net", "release"},
    "settings": _GROUND | {"net"},
    # The recipient's wing
    "recipient/rules": {"records"},
    "recipient/verdicts": {"records"},
    "recipient/sync_outcomes": {"errors", "records", "times"},
    "recipient/metrics": {"disk", "errors", "modes", "recipient/sync_outcomes", "records", "times"},
    "recipient/verdict_documents": {"records", "times"},
    "recipient/otel": {"errors", "recipient/sync_outcomes", "records", "texts", "times"},
    "recipient/guard": {"errors", "numbers", "records", "release", "texts"},
    "recipient/cache": _GROUND | {"numbers", "recipient/rules", "release"},
    "recipient/changes": {"errors", "recipient/cache", "recipient/rules", "records", "release", "times"},
    "recipient/current_list": _GROUND | {"recipient/cache", "recipient/rules", "release"},
    "recipient/screening": _GROUND | _ASKED | {"numbers", "release"},
    "recipient/sync": _GROUND | _FETCHED | {"recipient/cache", "release"},
    "recipient/upkeep": _GROUND | {"recipient/cache", "recipient/sync"},
    "recipient/background": _GROUND
    | {"fetch", "recipient/cache", "recipient/sync", "recipient/sync_outcomes", "recipient/upkeep"},
    "recipient/internals": _GROUND | _WING | {"net", "numbers", "recipient/arguments", "recipient/sync", "release"},
    "recipient/arguments": _GROUND | {"net", "numbers", "release"},
    "recipient/bundle": _GROUND
    | _ASKED
    | {
        "numbers",
        "recipient/changes",
        "recipient/current_list",
        "recipient/internals",
        "release",
    },
    "recipient/exports": _GROUND | {"numbers", "recipient", "recipient/arguments", "recipient/rules", "release"},
    "recipient": _GROUND
    | _WING
    | {"numbers", "recipient/arguments", "recipient/bundle", "recipient/internals", "recipient/sync", "release"}
    | {"settings"},
    # The publisher's wing
    "publisher": _GROUND | {"net", "numbers", "release"},
    "mirror": _GROUND | {"fetch", "net", "publisher", "release"},
    # The exchange's wing: the client and what both ends share, and the server behind it
    "exchange": _GROUND | {"net", "numbers", "release"},
    "exchange_server/settings": _GROUND | {"exchange", "net", "numbers"},
    "exchange_server/alarms": set(),
    "exchange_server/clock": {"exchange_server/alarms", "times"},
    "exchange_server/store": _GROUND | {"exchange"},
    "exchange_server/evidence/judge": set(),
    "exchange_server/evidence/media": {"exchange_server/evidence/judge"},
    "exchange_server/evidence": _GROUND | {"exchange_server/evidence/judge", "exchange_server/evidence/media"},
    "exchange_server/casework": _GROUND
    | {"exchange", "exchange_server/alarms", "exchange_server/evidence", "exchange_server/settings"}
    | {"exchange_server/store", "numbers", "publisher", "release"},
    "exchange_server/exchange": _GROUND
    | {"exchange", "exchange_server/casework", "exchange_server/clock", "exchange_server/evidence"}
    | {"exchange_server/evidence/judge", "exchange_server/settings", "exchange_server/store", "publisher"},
    "exchange_server/http": _GROUND
    | {"exchange", "exchange_server/casework", "exchange_server/evidence", "exchange_server/exchange"}
    | {"exchange_server/store", "net", "numbers"},
    "exchange_server": _GROUND | {"exchange", "exchange_server/exchange", "exchange_server/http", "net"},
    # Above the wings
    "lookup_server": _GROUND
    | {"net", "recipient", "recipient/cache", "recipient/metrics", "recipient/sync_outcomes"}
    | {"recipient/verdict_documents"},
    "enforcement": _GROUND | {"exchange", "net", "numbers", "recipient", "release"} | _ASKED | {"recipient/screening"},
    "doctor": _GROUND
    | {"enforcement", "fetch", "net", "numbers", "recipient", "recipient/arguments", "recipient/cache", "release"}
    | {"settings"},
    "testing/sinks": {"enforcement", "records", "release", "times"},
    "testing": _GROUND
    | {"demo", "exchange", "exchange_server", "exchange_server/exchange", "exchange_server/http", "net", "publisher"}
    | {"recipient", "recipient/guard", "testing/sinks"},
    "spark": {"disk", "errors", "numbers", "places", "recipient", "recipient/current_list", "recipient/screening"}
    | {"records", "texts", "times"},
    "demo": _GROUND | {"exchange", "numbers", "publisher", "recipient", "release"},
    "sandbox": _GROUND
    | {"demo", "exchange", "exchange_server", "exchange_server/casework", "exchange_server/exchange"}
    | {"exchange_server/settings", "exchange_server/store", "net", "numbers", "recipient"},
    "cli": _GROUND
    | {
        "demo",
        "doctor",
        "enforcement",
        "exchange",
        "exchange_server",
        "exchange_server/casework",
        "exchange_server/exchange",
    }
    | {"exchange_server/http", "exchange_server/settings", "mirror", "net", "numbers", "publisher", "recipient"}
    | {
        "recipient/arguments",
        "recipient/changes",
        "recipient/exports",
        "recipient/guard",
        "recipient/metrics",
        "recipient/screening",
        "recipient/sync",
    }
    | {"lookup_server", "recipient/sync_outcomes", "recipient/verdict_documents", "release", "sandbox", "settings"},
    # A command of its own, for people who write a reader in another language
    "conformance": {"cli", "errors", "numbers", "places", "recipient", "recipient/sync", "release", "testing"},
}
"""The rooms, and which others each may know. Within a package the rooms inside come first."""

BORDERS: dict[str, set[str]] = {
    "httpx": {"net/http.py"},
    "certifi": {"net/certificates.py"},
    "truststore": {"net/certificates.py"},
    "tenacity": {"net/retries.py", "fetch/transport.py", "exchange/"},
    "tuf": {"fetch/repository_contents.py", "fetch/trust.py", "publisher/"}
    | {"recipient/bundle/evidence.py", "recipient/sync/proof.py"}
    | {"release/eras.py", "release/roots.py"},
    "securesystemslib": {"publisher/", "fetch/key_kinds.py"},
    "filelock": {"locks.py"},
    "phonenumbers": {"numbers/", "demo/"},
    "pydantic": {"release/index.py", "exchange/", "exchange_server/", "lookup_server/openapi.py"},
    "fastapi": {"exchange_server/app.py", "exchange_server/http/"},
    "starlette": {"exchange_server/app.py", "exchange_server/connections.py", "exchange_server/http/"},
    "sqlalchemy": {"exchange_server/"},
    "joserfc": {"net/oauth.py"}
    | {f"exchange_server/casework/{name}.py" for name in ("accounts", "assertions", "public_keys")},
    "argon2": {"exchange_server/casework/secret_hashes.py"},
    "pytest": {"testing/plugin.py"},
    "typer": {"cli/"},
    "rich": {"cli/", "demo/"},
    "anyio": {"recipient/aio.py", "recipient/aio_overrides.py", "net/oauth.py", "net/routes.py"}
    | {"exchange/", "exchange_server/", "testing/exchange.py"},
    "pikepdf": {"exchange_server/evidence/media/pdf_reading.py", "exchange_server/evidence/media/pdf_rules.py"},
    "limits": {"exchange_server/http/rates.py", "exchange_server/settings.py"},
    "uvicorn": {"exchange_server/connections.py", "exchange_server/serving.py"},
    "httptools": {"exchange_server/connections.py", "lookup_server/connection.py"},
    "uvloop": {"lookup_server/worker.py"},
    "python_calamine": {"tables/sheets.py"},
    "redis": {"enforcement/sinks/redis.py"},
    "psycopg": {"enforcement/sinks/postgresql.py"},
    "confluent_kafka": {"enforcement/sinks/kafka.py"},
    "opentelemetry": {"recipient/otel.py"},
    "pyspark": {"spark.py"},
}
"""Where each library of others may be imported: the day it is replaced, it is those files."""


def room_of(path: Path) -> str:
    """The room a module is in; the package that has it where no room is named."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    names = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in MAY_IMPORT), parts[0])


def imported(path: Path, *, lazily: bool = True, for_types: bool = False) -> Iterator[str]:
    """What a module imports, with dots.

    Args:
        path: the module's file.
        lazily: also what functions import when they are called.
        for_types: also what is imported for type checkers alone.
    """
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
            pending.extend([*node.orelse, *(node.body if for_types else ())])
        elif lazily or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(ast.iter_child_nodes(node))


def own_modules(path: Path, *, lazily: bool = True, for_types: bool = False) -> set[Path]:
    """The modules of the package that a module imports."""
    found = set()
    for target in imported(path, lazily=lazily, for_types=for_types):
        if target.startswith("blocklist_sdk."):
            parts = target.split(".")[1:]
            candidates = (PACKAGE.joinpath(*parts[:count]) for count in range(len(parts), 0, -1))
            files = (each for place in candidates for each in (place.with_suffix(".py"), place / "__init__.py"))
            found.add(next((file for file in files if file.is_file()), PACKAGE / "__init__.py"))
    return found - {path}


def arrows(*, lazily: bool = True) -> dict[str, set[str]]:
    """Which rooms each room imports today."""
    known: dict[str, set[str]] = {}
    for path in MODULES:
        room = room_of(path)
        targets = {room_of(target) for target in own_modules(path, lazily=lazily)} - {room, "__init__"}
        known.setdefault(room, set()).update(targets)
    return known


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """How high each room stands: one floor above the highest room that it imports.

    Raises:
        ValueError: there is a circle.
    """
    heights: dict[str, int] = {}
    left = dict(graph)
    while left:
        ready = [room for room, targets in left.items() if targets.isdisjoint(left)]
        if not ready:
            raise ValueError(f"rooms that import each other in a circle: {sorted(left)}")
        for room in ready:
            heights[room] = 1 + max((heights[target] for target in left[room]), default=0)
        for room in ready:
            del left[room]
    return heights


def circles() -> list[list[str]]:
    """Modules that import each other in a circle: when they are loaded, later, or for type checkers alone.

    The public names of the whole package do not count: modules import its version, and it names some of them.
    """
    graph = {path: own_modules(path, for_types=path != PACKAGE / "__init__.py") for path in MODULES}
    # What is not in a circle can be taken away from either end, again and again.
    while True:
        aimed_at = set().union(*graph.values())
        kept = {path: targets & graph.keys() for path, targets in graph.items() if targets & graph.keys()}
        kept = {path: targets for path, targets in kept.items() if path in aimed_at}
        if kept.keys() == graph.keys():
            break
        graph = kept
    return [sorted(path.relative_to(PACKAGE).as_posix() for path in graph)] if graph else []


def main() -> None:
    """Print rooms by floor, and the counts."""
    graph = arrows()
    heights = floors(graph)
    for floor in range(max(heights.values()), 0, -1):
        print(f"{floor:2}  {'  '.join(sorted(room for room, height in heights.items() if height == floor))}")
    count = sum(map(len, graph.values()))
    print(f"{len(graph)} rooms, {max(heights.values())} floors, {count} arrows, {len(circles())} circles of modules")


if __name__ == "__main__":
    main()
