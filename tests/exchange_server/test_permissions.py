"""The page on who may do what is made from the rules and routes, and has all of them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from blocklist_sdk.exchange_server.casework.permissions import RULES
from blocklist_sdk.exchange_server.http.authentication import TOKEN_PATH

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_permissions", DOCS / "generate_permissions.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator: ModuleType) -> None:
    written = (DOCS / "reference" / "permissions.md").read_text(encoding="utf-8")
    assert written == generator.render(), "run: python docs/generate_permissions.py"


def test_every_request_that_changes_something_has_a_rule(generator: ModuleType) -> None:
    posts = {name for name in generator.routes() if not name.startswith("GET")} - {f"POST {TOKEN_PATH}"}
    assert posts == {rule.where for rule in RULES if rule.where.startswith("POST")}


def test_what_the_page_says_of_scopes_is_what_routes_need(generator: ModuleType) -> None:
    known = generator.routes()
    assert known["POST /v1/decisions/{decision}/confirmation"] == ("officer",)
    assert known["POST /v1/publications/acceptances"] == ("officer", "publish")
    assert (known["GET /v1/account"], known["GET /healthz"]) == ((), None)


def test_the_commands_exist() -> None:
    commands = [rule.where for rule in RULES if not rule.where.startswith("POST")]
    reference = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert all(f"### {command}" in reference for command in commands)
