"""The OpenAPI document has all routes, and describes everything."""

import importlib.util
from pathlib import Path
from typing import Any

from blocklist_sdk.exchange_server.app import openapi_document

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = openapi_document()
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{verb.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for verb, operation in operations.items()
}


def test_the_document_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_openapi", DOCS / "generate_openapi.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (DOCS / "openapi.json").read_text(encoding="utf-8")
    assert written == module.render(), "run: python docs/generate_openapi.py"


def test_every_operation_says_what_it_does_and_how_it_fails() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["description"], name
        assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"], name


def test_every_post_takes_an_idempotency_key() -> None:
    for name in (name for name in OPERATIONS if name.startswith("POST /v1")):
        assert ("header", "Idempotency-Key") in _parameters(name), name


def test_every_list_comes_in_pages() -> None:
    for name in (name for name in OPERATIONS if name.startswith("GET") and "Page" in str(OPERATIONS[name])):
        assert {("query", "limit"), ("query", "cursor")} <= _parameters(name), name


def _parameters(name: str) -> set[tuple[str, str]]:
    return {(each["in"], each["name"]) for each in OPERATIONS[name]["parameters"]}
