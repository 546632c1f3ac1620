"""The HTTP API as an OpenAPI 3.1 document, from the records that the answers are."""

import re
from typing import Any, Final

from pydantic import TypeAdapter

from blocklist_sdk import __version__
from blocklist_sdk.lookup_server.messages import ARROW, JSON
from blocklist_sdk.lookup_server.paths import OPEN, TEMPLATE_OF_ONE, VERDICTS
from blocklist_sdk.lookup_server.problems import MEDIA_TYPE as PROBLEM
from blocklist_sdk.lookup_server.problems import TITLES
from blocklist_sdk.lookup_server.questions import NUMBERS_MAX
from blocklist_sdk.records import SCOPES, Verdict

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_SCOPE: Final[Schema] = {"type": "string", "enum": list(SCOPES)}
_REF: Final = "#/components/schemas/"

_SCOPE_PARAMETER: Final[Schema] = {
    "name": "scope",
    "in": "query",
    "required": False,
    "schema": _SCOPE,
    "description": "Count the entries of this scope only; without it, those of all.",
}


def openapi_document() -> Schema:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Look-ups",
            "version": __version__,
            "summary": "Whether telephone numbers are blocked, and why.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _secured(_paths()),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Schema]:
    number: Schema = {
        "name": "number",
        "in": "path",
        "required": True,
        "schema": _TEXT,
        "description": "A number as people write it, percent-encoded, such as +6281234567890 or 0812-3456-7890.",
    }
    asks: Schema = {
        "type": "object",
        "properties": {
            "numbers": {
                "type": "array",
                "maxItems": NUMBERS_MAX,
                "items": {"type": ["string", "integer"]},
                "description": "Texts as people write numbers, or E.164 numbers as integers.",
            },
            "scope": {"anyOf": [_SCOPE, {"type": "null"}]},
        },
        "required": ["numbers"],
        "additionalProperties": False,
    }
    column: Schema = {"type": "string", "format": "binary"}
    verdicts: Schema = {
        "type": "object",
        "properties": {
            "verdicts": {
                "type": "array",
                "items": {"anyOf": [{"$ref": _REF + "Verdict"}, {"$ref": _REF + "NotANumber"}]},
            }
        },
        "required": ["verdicts"],
    }
    return {
        TEMPLATE_OF_ONE: {
            "get": {
                "operationId": "getVerdict",
                "summary": "What about one number?",
                "parameters": [number, _SCOPE_PARAMETER],
                "responses": _responses({JSON: {"$ref": _REF + "Verdict"}}, 401, 403, 414, 422, 503),
            }
        },
        VERDICTS: {
            "post": {
                "operationId": "postVerdicts",
                "summary": f"What about up to {NUMBERS_MAX:,} numbers?",
                "description": "An Arrow stream has one column of texts or integers, without compression and "
                "dictionaries. Its answer has the columns number, blocked, level, category and reason, row for row.",
                "parameters": [_SCOPE_PARAMETER],
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": asks}, ARROW: {"schema": column}},
                },
                "responses": _responses({JSON: verdicts, ARROW: column}, 400, 401, 403, 413, 415, 422, 503),
            }
        },
        "/healthz": {
            "get": {
                "operationId": "getHealth",
                "summary": "Does the process answer?",
                "responses": _responses({JSON: {"type": "object", "properties": {"status": {"const": "ok"}}}}),
            }
        },
        "/readyz": {
            "get": {
                "operationId": "getReadiness",
                "summary": "Is there a list to answer from, fresh enough where that is asked?",
                "responses": _responses({JSON: {"$ref": _REF + "Readiness"}}, 503),
            }
        },
        "/metrics": {
            "get": {
                "operationId": "getMetrics",
                "summary": "Figures for Prometheus.",
                "responses": _responses({"text/plain": _TEXT}, 401, 403, 503),
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "getDocument",
                "summary": "This document.",
                "responses": _responses({JSON: {"type": "object"}}, 401, 403),
            }
        },
    }


def _secured(paths: dict[str, Schema]) -> dict[str, Schema]:
    for path, methods in paths.items():
        for operation in methods.values():
            # A server without a token asks for none.
            operation["security"] = [{}] if path in OPEN else [{}, {"token": []}]
    return paths


def _responses(contents: dict[str, Schema], *refused: int) -> Schema:
    found: Schema = {"200": {"description": "The answer.", "content": {t: {"schema": s} for t, s in contents.items()}}}
    for status in (*refused, 500):
        titles = [title for code, title in TITLES.values() if code == status]
        found[str(status)] = {
            "description": "; ".join(titles) + ".",
            "content": {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}},
        }
    return found


def _schemas() -> dict[str, Schema]:
    made = TypeAdapter(Verdict).json_schema(mode="serialization", ref_template=_REF + "{model}")
    found = {name: _tidy(schema) for name, schema in made.pop("$defs").items()}
    verdict = _tidy(made)
    verdict["properties"] = {"input": {**_TEXT, "description": "What was asked."}, **verdict["properties"]}
    verdict["required"] = list(verdict["properties"])
    error: Schema = {"type": "object", "properties": {"type": _TEXT, "message": _TEXT}, "required": ["type", "message"]}
    text_or_null: Schema = {"type": ["string", "null"]}
    return {
        "Verdict": verdict,
        **found,
        "NotANumber": {
            "type": "object",
            "properties": {"input": _TEXT, "error": error},
            "required": ["input", "error"],
        },
        "Problem": {
            "type": "object",
            "description": "A problem document (RFC 9457).",
            "properties": {
                "type": {"type": "string", "enum": [f"urn:blocklist:problem:{kind}" for kind in TITLES]},
                "title": _TEXT,
                "status": {"type": "integer"},
                "detail": {**_TEXT, "description": "What is wrong, what is expected, what to do."},
                "reason": {**_TEXT, "description": "Why a text is not a number."},
            },
            "required": ["type", "title", "status", "detail"],
        },
        "Readiness": {
            "type": "object",
            "properties": {
                "status": {"const": "ready"},
                "feed": _TEXT,
                "serial": {"type": "integer"},
                "era": {"type": "integer"},
                "as_of": text_or_null,
                "expires": text_or_null,
                "stale": {"type": "boolean"},
                "clock_behind_s": {"type": ["integer", "null"]},
                "last_sync": {**text_or_null, "description": "When a sync last succeeded."},
                "last_sync_error": {**text_or_null, "description": "The kind of error of the last sync, if it failed."},
            },
        },
    }


def _tidy(schema: Any) -> Any:
    """The same without titles and defaults, every field required, and only the first sentences of descriptions."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _tidy(each) for name, each in schema.items() if name not in {"title", "default", "properties"}}
    if "properties" in schema:
        summary, _, attributes = schema.get("description", "").partition("Attributes:\n")
        meanings = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE))
        found["description"] = _plain(summary)
        found["properties"] = {
            name: _tidy(each) | ({"description": _plain(meanings[name])} if name in meanings else {})
            for name, each in schema["properties"].items()
        }
        found["required"] = list(found["properties"])
    return found


def _plain(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.replace("``", "`").split()))
