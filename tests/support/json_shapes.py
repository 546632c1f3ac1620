"""Whatever a command writes with `--json` in any test must have the shape that the reference promises, and no more."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs

from blocklist_sdk.cli.app import command_line

SCHEMAS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "json-schemas.json").read_text(encoding="utf-8")
)

seen: set[str] = set()
"""The commands that have written something."""


def command_of(arguments: Sequence[str]) -> str:
    """The names of the command that is called."""
    command: Any = _commands()
    names: list[str] = []
    for argument in arguments:
        if argument in getattr(command, "commands", {}):
            command = command.commands[argument]
            names.append(argument)
    # Of some groups, the name of one command may be left out.
    return " ".join([*names, "send"] if hasattr(command, "commands") else names)


@functools.cache
def _commands() -> Any:
    """All commands; to make them takes ten times as long as to run most of them."""
    return command_line()


def validate(arguments: Sequence[str], lines: Sequence[str]) -> None:
    """Check each line that a command has written."""
    command = command_of(arguments)
    for line in lines:
        validate_document(command, json.loads(line))


def validate_document(command: str, document: object) -> None:
    """Check one object."""
    seen.add(command)
    try:
        _validator(command).validate(document)
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{command} writes what its schema does not have: {error}") from error


@functools.cache
def _validator(command: str) -> Any:
    schema = {**SCHEMAS["commands"][command], "$defs": SCHEMAS["$defs"], "$schema": SCHEMAS["$schema"]}
    return jsonschema_rs.validator_for(_closed(schema), validate_formats=True)


def _closed(schema: Any) -> Any:
    """The same without further fields: readers must ignore them, but none may go undocumented."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(each) for name, each in schema.items()}
    return found | {"additionalProperties": False} if "required" in found and "properties" in found else found
