"""The exchange's HTTP API as a page, from ``openapi.json``; `conf.py` puts it into the reference when it is built."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

MARK: Final = "<!-- the exchange's routes and bodies -->"
"""What a page has where they go."""

_DOCUMENT: Final = Path(__file__).with_name("openapi.json")
_METHODS: Final = {
    "health": "Health",
    "look-up": "Look-up",
    "accounts": "Accounts and tokens",
    "reports": "Reports and evidence",
    "cases": "Cases and decisions",
    "appeals": "Appeals",
    "feeds": "Feeds and publications",
    "receipts": "Receipts",
    "statistics": "Statistics",
}
"""The headings, by the document's tags."""


def render() -> str:
    """The routes by subject, then the bodies."""
    return "\n".join(_lines(json.loads(_DOCUMENT.read_text(encoding="utf-8"))))


def _lines(document: dict[str, Any]) -> Iterator[str]:
    operations: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operations.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    for tag in [*_METHODS, *sorted(set(operations) - set(_METHODS))]:
        yield f"\n## {_METHODS.get(tag, tag.capitalize())}\n"
        for method, path, operation in operations.get(tag, ()):
            yield from _operation(method, path, operation)
    schemas = document["components"]["schemas"]
    yield "\n## Bodies\n"
    for name in sorted(schemas, key=str.lower):
        if not name.startswith(("Page_", "Body_")):
            yield from _schema(name, schemas[name])
    yield from _form(schemas)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {method} {path}\n\n{operation['description']}\n"
    if "security" not in operation:
        yield "No account is needed.\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for each in parameters:
            is_needed = each["required"] or each["name"] == "Idempotency-Key"
            name = f"`{each['name']}`{'' if is_needed else ' (optional)'}"
            meaning = each.get("description") or each["schema"].get("description", "")
            yield f"| {name} | {each['in']} | {_type(each['schema'])} | {_cell(meaning)} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        yield f"Body: {_content(body['content'])}.\n"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield f"Answer {status}: {_content(answer.get('content', {}))}.\n"


def _content(content: dict[str, Any]) -> str:
    if not content:
        return "bytes"
    ((kind, found),) = list(content.items())[:1]
    shown = _type(found.get("schema", {}))
    if kind == "application/json":
        return shown
    return f"{shown or 'bytes'} as `{kind}`"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {name}\n\n{_cell(schema.get('description', ''))}\n"
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n"
    if "properties" in schema:
        yield from _fields(schema)


def _form(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        if name.startswith("Body_"):
            yield "\n### TokenRequest\n\nThe form that asks for a token.\n"
            yield from _fields(schema)


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    yield "| field | type | meaning |\n|---|---|---|"
    for field, found in schema["properties"].items():
        name = f"`{field}`{'' if field in required else ' (optional)'}"
        yield f"| {name} | {_type(found)} | {_cell(found.get('description', ''))} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    """A type in a few words, with a link where it is a body of its own."""
    if "$ref" in schema:
        return _reference(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        parts = [_type(each) for each in schema["anyOf"]]
        return " or ".join(dict.fromkeys("null" if part == "null" else part for part in parts))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    kind = {"string": "text", "date-time": "moment", "binary": "bytes", "contentMediaType": "bytes"}
    name = schema.get("format") or schema.get("type", "")
    name = kind.get(name, name)
    bounds = _bounds(schema)
    return f"{name}{f', {bounds}' if bounds else ''}"


def _reference(name: str) -> str:
    if name.startswith("Page_"):
        item = name.removeprefix("Page_").strip("_")
        return f"page of [{item}](#{item.lower()}): `items`, and `next`, the cursor of the following page or null"
    if name.startswith("Body_"):
        return "[TokenRequest](#tokenrequest)"
    return f"[{name}](#{name.lower()})"


def _bounds(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None and high < 1 << 53:
        return f"{low} to {high:,}"
    if "maxLength" in schema and schema.get("type") == "string":
        return f"at most {schema['maxLength']:,} characters"
    return ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
