"""The description of the HTTP API: committed as it is made, and true of what the service answers."""

import importlib.util
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.messages import Request, Response
from blocklist_sdk.lookup_server.openapi import openapi_document
from blocklist_sdk.lookup_server.problems import TITLES
from blocklist_sdk.lookup_server.routes import Routes
from support.mixed_list import QUESTIONS, MixedList

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = openapi_document()


def test_the_docs_have_it_as_it_is_made() -> None:
    spec = importlib.util.spec_from_file_location("generate_lookup_openapi", DOCS / "generate_lookup_openapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (DOCS / "lookup-openapi.json").read_text(encoding="utf-8")
    assert written == module.render(), "run: python docs/generate_lookup_openapi.py"


def test_the_page_has_every_problem_and_address() -> None:
    page = (DOCS / "reference" / "lookup-api.md").read_text()
    for kind, (status, _) in TITLES.items():
        assert f"| `{kind}` | {status} |" in page
    for path in DOCUMENT["paths"]:
        assert path in page


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Routes, Counters]:
    recipient = MixedList(tmp_path_factory.mktemp("published")).recipient()
    recipient.sync()
    counters = Counters(workers=1)
    return Routes(Answers(recipient), counters), counters


def validator(name: str) -> Any:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(schema)


def answered(routes: tuple[Routes, Counters], request: Request) -> Any:
    import json

    work = routes[0].respond(request, routes[1].of(0, "http"))
    while not isinstance(work, Response):
        found = next(work)
        if found is not None:
            work = found
    return json.loads(work.body)


def test_answers_are_as_described(routes: tuple[Routes, Counters]) -> None:
    for text in QUESTIONS:
        validator("Verdict").validate(answered(routes, Request("GET", f"/v1/verdicts/{text}")))
    validator("Problem").validate(answered(routes, Request("GET", "/v1/verdicts/GoPay")))
    validator("Readiness").validate(answered(routes, Request("GET", "/readyz")))
    body = b'{"numbers": ["+6281200000001", "GoPay"]}'
    request = Request("POST", "/v1/verdicts", headers={"content-type": "application/json"}, body=body)
    verdict, error = answered(routes, request)["verdicts"]
    validator("Verdict").validate(verdict)
    validator("NotANumber").validate(error)
