"""Write docs/json-schemas.json, the shapes of what commands write with `--json`, from the records that they write.

Tests validate what every command really writes against it, and fail while the file differs from what this makes.
"""

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from blocklist_sdk import enforcement, exchange, mirror, publisher, records
from blocklist_sdk.cli.export import WholeFormat
from blocklist_sdk.demo import story
from blocklist_sdk.recipient import ExportResult, ScreeningResult
from blocklist_sdk.recipient.offered import OfferedFeed
from blocklist_sdk.release.audit import SeenAuditHead

PATH: Final = Path(__file__).parent / "json-schemas.json"

Schema = dict[str, Any]

_DEFS: dict[str, Schema] = {}
_REF: Final = "#/$defs/{model}"


def of(kind: Any) -> Schema:
    """The schema of a type; those of the records in it become definitions."""
    found = TypeAdapter(kind).json_schema(mode="serialization", ref_template=_REF)
    for name, schema in found.pop("$defs", {}).items():
        _DEFS[name] = _tidy(schema)
    return _tidy(found)


def record(kind: type, **others: Any) -> Schema:
    """An object with the fields of a record, and further ones: a type, or a schema."""
    found = of(kind)
    if "$ref" in found:
        found = _DEFS[found["$ref"].rpartition("/")[2]]
    return _object(found["properties"] | {name: _schema(each) for name, each in others.items()})


def object_of(**fields: Any) -> Schema:
    """An object with these fields: types, or schemas."""
    return _object({name: _schema(each) for name, each in fields.items()})


def _schema(kind: Any) -> Schema:
    return kind if isinstance(kind, dict) else of(kind)


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _tidy(schema: Any) -> Any:
    """The same without titles and defaults, with a description for each field, and with every field required."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _tidy(each) for name, each in schema.items() if name not in {"title", "default", "properties"}}
    if "properties" in schema:
        summary, fields = _documented(schema.get("description", ""))
        found["description"] = summary
        found["properties"] = {
            name: _tidy(each) | ({"description": fields[name]} if name in fields and "description" not in each else {})
            for name, each in schema["properties"].items()
        }
        found["required"] = list(found["properties"])
        found.pop("additionalProperties", None)
    if found.get("format") == "path":
        del found["format"]
    return {name: each for name, each in found.items() if each != ""}


def _documented(docstring: str) -> tuple[str, dict[str, str]]:
    """A docstring's first paragraph, and the meaning of each field that its `Attributes` name."""
    summary, _, attributes = docstring.partition("Attributes:\n")
    fields: dict[str, str] = {}
    for found in re.finditer(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
        fields |= dict.fromkeys(found[1].split(", "), _plain(found[2]))
    return _plain(summary.partition("\n\n")[0]), fields


def _plain(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.replace("``", "`").split()))


_MOMENT: Final = record(records.Entry)["properties"]["since"] | {"description": "when, UTC."}
_ERROR: Final = object_of(type=str, message=str)
_WRONG_LINE: Final = object_of(line=int, error=_ERROR)
_REJECTS: Final = _list_of(object_of(line=int, reason=str))

_VERDICT: Final = record(records.Verdict)["properties"]
_CHECKED: Final = _object({"input": of(str), **_VERDICT})
_EXPLANATION: Final = record(records.Explanation)["properties"]
_EXPLAINED: Final = _object(
    {
        "input": of(str),
        **_VERDICT,
        **{name: each for name, each in _EXPLANATION.items() if name not in {"text", "verdict", "number"}},
    }
)
_OVERRIDE: Final = record(records.Override)
_RESULT: Final = record(enforcement.EnforcementResult)
_RELEASED: Final = [record(publisher.ReleaseResult), record(publisher.ReleaseImpact)]
_PROTECTED: Final = [record(publisher.ProtectionResult)]
_PROPOSAL: Final[dict[str, Any]] = {
    "role": str,
    "root_version": int | None,
    "fingerprint": str,
    "changes": list[str],
    "missing": _list_of(object_of(document=str, missing=int, keys=list[str])),
}
_REPORT, _CASE, _DECISION, _APPEAL = (
    record(each) for each in (exchange.Report, exchange.Case, exchange.Decision, exchange.Appeal)
)
_EVIDENCE: Final = record(exchange.Evidence, path=str, copy_sha256=str, copy_bytes=int)
_STATISTICS: Final = record(exchange.Statistics)
_SECRET: Final = object_of(name=str, secret=str | None, settings=str | None)
_FEEDS: Final = _list_of(record(OfferedFeed))
_SEEN: Final = record(SeenAuditHead)["properties"]
_SEEN_HEAD: Final = _object({name: each for name, each in _SEEN.items() if name != "url"})

COMMANDS: Final[dict[str, list[Schema]]] = {
    "demo": [object_of(ok=bool, generated=bool, directory=str | None, steps=_list_of(record(story.Step)))],
    "sandbox": [
        object_of(url=str, directory=str, root=str, accounts=list[str], resumed=bool),
        object_of(scenes=_list_of(object_of(who=str, what=str))),
    ],
    "sync": [
        record(records.SyncResult, feed=str),
        record(records.Impact, feed=str),
        record(records.SyncResult, feed=str, at=_MOMENT),
        object_of(feed=str, at=_MOMENT, error=_ERROR),
    ],
    "status": [record(records.Status, root_fingerprint=str, root_version=int | None)],
    "init": [
        object_of(
            settings=str,
            root=str,
            version=int,
            fingerprint=str,
            feeds=_FEEDS,
            next=list[str],
        )
    ],
    "feeds": [object_of(feeds=_FEEDS)],
    "doctor": [
        object_of(
            findings=_list_of(
                object_of(
                    name=str,
                    outcome=Literal["ok", "warn", "fail", "skipped"],
                    message=str,
                    remedy=str | None,
                    error=str | None,
                )
            )
        )
    ],
    "check": [_CHECKED, object_of(input=str, error=_ERROR)],
    "explain": [_EXPLAINED],
    "override allow": [_OVERRIDE],
    "override block": [_OVERRIDE],
    "override list": [_OVERRIDE],
    "override import": [object_of(rows=int, rejects=_REJECTS)],
    "bundle": [record(records.BundleResult)],
    "verify": [
        record(records.Verification, ok=bool),
        object_of(heads=_list_of(_SEEN_HEAD), problems=list[str], ok=bool),
    ],
    "trust replace": [record(records.RootReplacement)],
    "screen": [record(ScreeningResult, feed=str, output=str, rejects=_REJECTS)],
    "export": [
        record(ExportResult, output=str),
        object_of(
            feed=str,
            era=int,
            serial=int,
            as_of=datetime,
            expires=datetime | None,
            stale=bool,
            clock_behind_s=int | None,
            output=str,
            output_format=WholeFormat,
            rows=int,
        ),
    ],
    "changes": [
        record(
            records.Entry,
            change=Literal["added", "removed", "changed"],
            before=records.Entry | None,
            override=Literal["allow", "block"] | None,
            protected=bool,
            overrides=list[records.Override],
        )
    ],
    "enforce": [_RESULT, record(enforcement.Drift, repaired=enforcement.EnforcementResult | None)],
    "receipts send": [
        object_of(line=int, status=Literal["accepted", "repeated"]),
        _WRONG_LINE,
        record(enforcement.ReceiptsResult, sink=str),
    ],
    "receipts pending": [
        object_of(
            status=Literal["pending"],
            record=int,
            operation=Literal["unblock", "change", "block"],
            serial=int,
            era=int,
            done=_or_null(_MOMENT),
            receipts=int,
        ),
        object_of(status=Literal["refused"], record=int, entry=int | None, outcome=str | None, reason=str),
    ],
    "receipts list": [record(exchange.Receipt)],
    "receipts statistics": [_STATISTICS],
    "statement": [record(enforcement.Statement)],
    "report send": [_REPORT],
    "report attach": [_REPORT],
    "report bulk": [object_of(line=int, report=exchange.Report), _WRONG_LINE],
    "report show": [_REPORT],
    "report list": [_REPORT],
    "case list": [_CASE],
    "case show": [_CASE],
    "case history": [record(exchange.Event)],
    "case start-verification": [_CASE],
    "case decide": [_DECISION],
    "case confirm": [_DECISION],
    "case withdraw": [_DECISION],
    "case recycled": [record(exchange.RecycledBatch), record(exchange.RecycledAnswer)],
    "case evidence": [_EVIDENCE],
    "appeal send": [_APPEAL],
    "appeal attach": [_APPEAL],
    "appeal show": [_APPEAL],
    "appeal list": [_APPEAL],
    "appeal answer": [_APPEAL],
    "appeal evidence": [_EVIDENCE],
    "exchange init": [
        object_of(
            directory=str,
            feeds=list[str],
            root=str,
            officers=_list_of(object_of(name=str, settings=str)),
            offline_keys=str,
        )
    ],
    "exchange user add": [_SECRET],
    "exchange user secret": [_SECRET],
    "exchange user reopen": [_SECRET],
    "exchange user list": [
        object_of(
            accounts=_list_of(
                object_of(
                    name=str,
                    scopes=list[str],
                    authenticates=Literal["key", "secret"],
                    certificates=list[str],
                    created_at=str,
                    disabled_at=str | None,
                )
            )
        )
    ],
    "exchange publish": [record(exchange.Publication)],
    "exchange stats": [_STATISTICS],
    "exchange verify": [object_of(problems=list[str], erased=list[str], lines=int, head=str)],
    "publish init": [
        object_of(
            directory=str,
            feeds=list[str],
            scopes=dict[str, str | None],
            repository=str,
            keys=str,
            root=str,
            root_version=int,
            fingerprint=str,
        ),
        object_of(directory=str, file=str, **_PROPOSAL),
    ],
    "publish release": _RELEASED,
    "publish add": _RELEASED,
    "publish remove": _RELEASED,
    "publish refresh": [record(publisher.RefreshResult)],
    "publish snapshot": [record(publisher.SnapshotResult)],
    "publish protect add": _PROTECTED,
    "publish protect remove": _PROTECTED,
    "publish protect set": _PROTECTED,
    "publish protect apply": _PROTECTED,
    "publish protect list": [object_of(numbers=list[int])],
    "publish keys show": [object_of(roles=list[publisher.KeyRole])],
    "publish keys rotate": [record(publisher.KeyChange, fingerprint=str)],
    "publish keys propose": [object_of(file=str, **_PROPOSAL)],
    "publish keys sign": [object_of(file=str, signed=list[str], **_PROPOSAL)],
    "publish keys install": [
        record(publisher.KeyChange, fingerprint=str),
        object_of(directory=str, repository=str, root=str, root_version=int, fingerprint=str),
    ],
    "publish keys fingerprint": [object_of(version=int, fingerprint=str)],
    "mirror": [record(mirror.MirrorResult)],
}
"""What each command writes: one of these objects on each line."""


def document() -> Schema:
    """All shapes, by command; what several have in common is in `$defs`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of blocklist write with --json",
        "description": "Each line is one object. `commands` has the shape of a line, by command. Within a major "
        "version fields may be added, and none is removed or changes its meaning: ignore fields that you do not know.",
        "commands": {
            command: shapes[0] if len(shapes) == 1 else {"anyOf": shapes} for command, shapes in COMMANDS.items()
        },
        "$defs": dict(sorted(_DEFS.items())),
    }


def render() -> str:
    """The document, so that a change shows line by line."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
