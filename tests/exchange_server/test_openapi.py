"""The OpenAPI document is true: requests generated from it get the responses that it describes."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from blocklist_sdk.exchange_server.app import openapi_document
from support.scale import LONG, scaled
from support.talking import Talk

EXAMPLES = scaled(6, long=300)


def is_refused(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """What is wrong is refused; what is wrong by its length may be refused as too long."""
    return None if response.status_code == 413 else negative_data_rejection(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    is_refused,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_what_is_generated_from_the_document_is_answered_as_it_says(
    start: Callable[..., Talk], request: pytest.FixtureRequest, mode: GenerationMode
) -> None:
    # What is right is stored, where databases may differ; what is wrong does not get that far.
    is_right = mode is GenerationMode.POSITIVE
    talk = start(request.getfixturevalue("new_postgres")()) if is_right or LONG else start()
    talk.listed()
    schema = schemathesis.openapi.from_url(f"{talk.url}/openapi.json")
    header = talk.token("everyone")
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_one(case: Case[Any]) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(headers=header, checks=CHECKS, timeout=60)

        with contextlib.suppress(Unsatisfiable):  # nothing of it can be wrong
            try_one()
    assert tried > 150


def test_the_document_is_served_as_it_is_made(lite: Talk) -> None:
    served = lite.get(None, "/openapi.json").json()
    assert served == json.loads(json.dumps(openapi_document()))
    assert served["openapi"].startswith("3.1")


def test_every_operation_says_who_may_use_it_and_what_is_answered(lite: Talk) -> None:
    open_to_all = {"/healthz", "/readyz", "/oauth/token", "/v1/numbers/{number}"}
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            place: Any = (method, path)
            assert ("security" in operation) is (path not in open_to_all), place
            assert "default" in operation["responses"], place
            assert operation["summary"], place
            keys = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
            assert keys == (["Idempotency-Key"] if method == "post" and path != "/oauth/token" else []), place
