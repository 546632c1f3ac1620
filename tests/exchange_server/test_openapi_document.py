"""The OpenAPI document has all routes, and describes everything."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.exchange_server.app import openapi_document

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = openapi_document()
OPERATIONS = {
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


def test_it_is_openapi_3_1() -> None:
    assert json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["openapi"].startswith("3.1")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_does_and_how_it_fails(name: str) -> None:
    operation: dict[str, Any] = OPERATIONS[name]
    assert operation["description"]
    assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("POST /v1")])
def test_every_post_takes_an_idempotency_key(name: str) -> None:
    assert any(each["name"] == "Idempotency-Key" and each["in"] == "header" for each in OPERATIONS[name]["parameters"])


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if name.startswith("GET") and "Page" in str(OPERATIONS[name])]
)
def test_every_list_comes_in_pages(name: str) -> None:
    assert {"limit", "cursor"} <= {each["name"] for each in OPERATIONS[name]["parameters"]}
