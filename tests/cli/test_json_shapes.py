"""Every command that has `--json` writes what docs/json-schemas.json says; `run` validates each line of it."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import httpx
import jsonschema_rs
import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk import Unreachable, Verdict
from blocklist_sdk.cli import watch
from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.output import verdict_document, write_json
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from support import json_shapes
from support.command_line import Ran, run
from support.exchanges import (
    EVENT,
    EVIDENCE,
    MOMENT,
    RECEIPT,
    RECYCLED,
    RECYCLED_ANSWER,
    STATISTICS,
    Told,
    appeal,
    case,
    decision,
    exchanging,
    page,
    report,
    routes,
)
from support.world import LISTED, World, make_world

DOCS = Path(__file__).parents[2] / "docs"
KEYS = {"BLOCKLIST_PASSPHRASE": "generated for a test", "BLOCKLIST_OFFLINE_PASSPHRASE": "of root and targets"}
AT = datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_json_schemas", DOCS / "generate_json_schemas.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from with_json(each, (*path, name))
        elif any("--json" in parameter.opts for parameter in each.params):
            yield " ".join((*path, name))


def test_the_schemas_are_current(generator: ModuleType) -> None:
    written = (DOCS / "json-schemas.json").read_text(encoding="utf-8")
    assert written == generator.render(), "run: python docs/generate_json_schemas.py"


def test_every_command_with_json_has_a_schema() -> None:
    schemas = json_shapes.SCHEMAS["commands"]
    assert schemas.keys() == {*with_json(command_line()), "statement"}
    for command in schemas:
        jsonschema_rs.meta.validate({**schemas[command], "$defs": json_shapes.SCHEMAS["$defs"]})


@pytest.mark.parametrize("change", [{"unknown": 1}, {"rows": "1"}, {"expires": "yesterday"}])
def test_another_shape_is_found(change: dict[str, object]) -> None:
    document: dict[str, object] = {"renewed": ["timestamp"], "overdue": [], "expires": "2026-11-24T08:00:00Z"}
    json_shapes.validate_document("publish refresh", document)
    command, good = "publish refresh", document
    if "rows" in change:
        command, good = (
            "publish snapshot",
            {"feed": "x", "serial": 1, "rows": 1, "snapshot_bytes": 1, "digest": "0", "era": 1},
        )
        json_shapes.validate_document(command, good)
    with pytest.raises(AssertionError, match=command):
        json_shapes.validate_document(command, good | change)
    with pytest.raises(AssertionError, match=command):
        json_shapes.validate_document(command, dict([*good.items()][1:]))


def works(ran: Ran, *codes: int) -> Any:
    assert ran.code in (codes or (0,)), ran
    return json.loads(ran.lines[-1])


def publishing(folder: Path) -> None:
    """The publisher's commands."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    (folder / "list.csv").write_text("number\n0812-3456-7890\n0812-3456-78##\n")
    authority = folder / "authority"

    def publish(*arguments: str | Path) -> Any:
        return works(run("publish", *arguments, "--json", env=KEYS))

    publish("init", authority, "--feed", "id-all=sms", "--region", "ID")
    publish("release", authority, "--feed", "id-all", "--from", folder / "list.csv")
    publish("add", authority, "--feed", "id-all", "0812-3456-9999", "--dry-run")
    publish("add", authority, "--feed", "id-all", "0812-3456-9999")
    publish("remove", authority, "--feed", "id-all", "0812-3456-9999")
    publish("refresh", authority)
    publish("snapshot", authority, "--feed", "id-all")
    publish("protect", "add", authority, "0812-3456-7000")
    publish("protect", "set", authority, "--from", folder / "list.csv", "--propose", folder / "protection.json")
    publish("protect", "apply", authority, folder / "protection.json", "--accept")
    publish("protect", "remove", authority, "0812-3456-7890")
    publish("protect", "list", authority)
    publish("keys", "show", authority)
    publish("keys", "fingerprint", authority)
    publish("keys", "rotate", authority, "--role", "online")
    new = Ed25519PrivateKey.generate()
    encoding, format_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "new.pem").write_bytes(new.private_bytes(encoding, format_, serialization.NoEncryption()))
    (folder / "new.pub").write_bytes(
        new.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    proposal = folder / "next.json"
    publish("keys", "propose", authority, "--role", "root", "--add", folder / "new.pub", "-o", proposal)
    publish("keys", "sign", proposal, "--key", folder / "new.pem", "--yes")
    for key in sorted((authority / "keys").glob("root.*.pem")):
        publish("keys", "sign", proposal, "--key", key, "--yes")
    publish("keys", "install", authority, proposal)


def receiving(world: World) -> None:
    """The recipient's commands, and enforcement into files."""
    folder = world.directory
    settings = folder / "blocklist.toml"
    settings.write_text(
        f'url = "{world.url}"\nfeed = "id-telkomsel"\nroot = "{world.publisher.root}"\nregion = "ID"\n'
        f'cache_dir = "{folder / "cache"}"\n'
    )

    env = {"BLOCKLIST_CONFIG": str(settings)}

    def recipient(command: str, *arguments: str | Path, codes: tuple[int, ...] = ()) -> Any:
        return works(run(command, *arguments, "--json", env=env), *codes)

    recipient("feeds")
    made = folder / "made" / "blocklist.toml"
    root = ("--root", world.publisher.root)
    works(run("init", world.url, "--feed", "id-telkomsel", *root, "-o", made, "--json"))
    recipient("sync", "--dry-run")
    recipient("sync")
    recipient("doctor", "--offline")
    recipient("status")
    recipient("check", LISTED, "GoPay", codes=(1,))
    recipient("override", "allow", LISTED, "--reason", "ours")
    recipient("override", "block", "0812-0000-77##", "--reason", "ours")
    recipient("override", "list")
    (folder / "decisions.csv").write_text("number,decision,reason\n0812-0000-0042,allow,x\nx,allow,x\n")
    recipient("override", "import", folder / "decisions.csv", codes=(7,))
    recipient("explain", LISTED)
    recipient("bundle", "-o", folder / "list.bundle")
    recipient("verify")
    recipient("changes", "--since", "0")
    fingerprint = works(run("publish", "keys", "fingerprint", world.publisher.root, "--json"))["fingerprint"]
    recipient("trust", "replace", "--fingerprint", fingerprint, "--dry-run")
    (folder / "users.csv").write_text(f"number,name\n{LISTED},x\n{LISTED}\n")
    recipient("screen", folder / "users.csv", "-o", folder / "screened.csv", "--max-rejects", "1")
    sink = ("--sink", f"file:{folder / 'drop'}", "--name", "hlr")
    recipient("enforce", *sink, "--dry-run")
    recipient("enforce", *sink)
    recipient("receipts", "pending", "--sink", "hlr")
    with exchanging(
        routes({"GET /v1/account": ACCOUNT, "POST /v1/receipts": lambda asked: receipts_of(asked.document)})
    ) as (url, _):
        ran = run("receipts", "send", "--sink", "hlr", "--json", env=env | account(url))
        works(ran, 7)
    recipient("receipts", "pending", "--sink", "hlr")
    month = f"{datetime.now(UTC):%Y-%m}"
    ran = run("statement", "--sink", "hlr", "--month", month, "--format", "json", env=env)
    json_shapes.validate_document("statement", json.loads(ran.out))
    works(run("mirror", folder / "mirror", "--json", env=env))


ACCOUNT = {"name": "gopay", "scopes": ["receipt", "feed:id-telkomsel", "officer"]}


def receipts_of(document: Any) -> Any:
    """The first is refused."""
    items = [{"index": at, "status": "accepted"} for at in range(1, len(document["receipts"]))]
    return {"items": [{"index": 0, "status": "refused", "reason": "not yours"}, *items]}


def account(url: str) -> dict[str, str]:
    return {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "gopay", "BLOCKLIST_CLIENT_SECRET": "s3cret"}


ROUTES: dict[str, Any] = {
    "GET /v1/account": ACCOUNT,
    "POST /v1/reports": lambda asked: (
        {"items": [{"index": 0, "report": report()}]} if "reports" in asked.document else Told(report(), 201)
    ),
    "POST /v1/reports/bulk": {"items": [{"index": 0, "report": report()}]},
    "POST /v1/reports/1/evidence": Told(EVIDENCE, 201),
    "GET /v1/reports/1": report(evidence=[EVIDENCE]),
    "GET /v1/reports": page(report()),
    "GET /v1/cases": page(case()),
    "GET /v1/cases/7": case(),
    "GET /v1/cases/7/reports": page(report(evidence=[EVIDENCE])),
    "GET /v1/cases/7/history": page(EVENT),
    "POST /v1/cases/7/verification": case(),
    "POST /v1/cases/7/decisions": decision(),
    "POST /v1/decisions/5/confirmation": decision(),
    "POST /v1/decisions/5/withdrawal": decision(),
    "POST /v1/appeals": Told(appeal(), 201),
    "POST /v1/appeals/9/evidence": Told(EVIDENCE, 201),
    "GET /v1/appeals/9": appeal(evidence=[EVIDENCE]),
    "GET /v1/appeals": page(appeal()),
    "POST /v1/appeals/9/answer": appeal(),
    "GET /v1/receipts": page(RECEIPT),
    "GET /v1/receipts/recycled": Told([RECYCLED]),
    "POST /v1/receipts/recycled/answers": RECYCLED_ANSWER,
    "GET /v1/statistics/2026-11": STATISTICS,
    "POST /v1/receipts": {"items": [{"index": 0, "status": "accepted"}]},
    f"GET /v1/evidence/{EVIDENCE['id']}": Told(b"x" * int(str(EVIDENCE["bytes"]))),
}

OF_REPORT = ("--category", "fraud", "--channel", "sms", "--text", "x", "--happened-at", MOMENT, "--reporter", "c-1")
OF_APPEAL = ("--grounds", "a new owner", "--appellant", "c-1")


def with_an_account(folder: Path) -> None:
    """The commands of an exchange's accounts."""
    import hashlib

    (folder / "a.png").write_bytes(b"a picture")
    (folder / "reports.csv").write_text(
        f"number,category,channel,text,happened_at,reporter\n0812-3456-7890,fraud,sms,x,{MOMENT},c-1\nx,,,,,\n"
    )
    (folder / "receipts.csv").write_text(f"feed,serial,entry,outcome,at\nid-all,1,1,enforced,{MOMENT}\nx,,,,\n")
    data = b"x" * int(str(EVIDENCE["bytes"]))
    evidence = EVIDENCE | {"sha256": hashlib.sha256(data).hexdigest()}
    table = ROUTES | {
        "GET /v1/cases/7/reports": page(report(evidence=[evidence])),
        "GET /v1/appeals/9": appeal(evidence=[evidence]),
    }
    with exchanging(routes(table)) as (url, _):

        def command(*arguments: str | Path, codes: tuple[int, ...] = ()) -> Any:
            return works(run(*arguments, "--json", env=account(url)), *codes)

        command("report", "0812-3456-7890", *OF_REPORT)
        command("report", "attach", "1", folder / "a.png")
        command("report", "bulk", folder / "reports.csv", codes=(7,))
        command("report", "show", "1")
        command("report", "list")
        for name in ("show", "history", "start-verification"):
            command("case", name, "7")
        command("case", "list")
        command("case", "decide", "7", "block", "--version", "12", "--reason", "x")
        command("case", "recycled")
        command("case", "recycled", "--refuse", "0" * 64, "--reason", "x")
        command("case", "confirm", "5")
        command("case", "withdraw", "5")
        command("case", "evidence", "7", "--dir", folder / "evidence")
        command("appeal", "0812-3456-7890", *OF_APPEAL)
        command("appeal", "attach", "9", folder / "a.png")
        command("appeal", "show", "9")
        command("appeal", "list")
        command("appeal", "answer", "9", "--grant", "--reason", "x")
        command("appeal", "evidence", "9", "--dir", folder / "evidence")
        command("receipts", "list")
        command("receipts", "statistics", "2026-11")
        command("receipts", "send", folder / "receipts.csv", codes=(7,))


def running_an_exchange(folder: Path) -> None:
    """The commands of whoever runs an exchange, and those to try things."""
    exchange = folder / "exchange"
    works(run("exchange", "init", exchange, "--json", env=KEYS))
    works(run("exchange", "user", "add", exchange, "anna", "--scope", "officer", "--json"))
    works(run("exchange", "user", "secret", exchange, "anna", "--json"))
    assert run("exchange", "user", "disable", exchange, "anna").code == 0
    works(run("exchange", "user", "reopen", exchange, "anna", "--json"))
    works(run("exchange", "user", "list", exchange, "--json"))
    works(run("exchange", "publish", exchange, "--json", env=KEYS))
    works(run("exchange", "stats", exchange, "--json"))
    works(run("exchange", "verify", exchange, "--json"))
    works(run("demo", "--json"))
    works(run("sandbox", "--script", "--cases", "3", "--json"))


def test_every_command_writes_its_shape(tmp_path: Path) -> None:
    json_shapes.seen.clear()
    for folder in ("publishing", "account", "exchange"):
        (tmp_path / folder).mkdir()
    publishing(tmp_path / "publishing")
    receiving(make_world(tmp_path / "world"))
    with_an_account(tmp_path / "account")
    running_an_exchange(tmp_path / "exchange")
    assert json_shapes.seen == json_shapes.SCHEMAS["commands"].keys()


def test_watching_writes_its_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    outcomes: list[SyncOutcome] = []
    recipient = world.recipient()
    recipient.add_listener(outcomes.append)
    recipient.sync()
    (outcome,) = outcomes
    failed = replace(outcome, result=None, error=Unreachable("x", url="https://x"))
    for each in (outcome, failed):
        write_json(watch._document(each))
        json_shapes.validate_document("sync", json.loads(capsys.readouterr().out))


def test_a_web_framework_returns_what_json_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FastAPI writes records as pydantic does, by the type that a route is annotated with."""
    from fastapi import FastAPI

    world = make_world(tmp_path)
    recipient = world.recipient()
    recipient.sync()
    recipient.overrides.allow("+6281299999999", reason="ours")
    app = FastAPI()

    @app.get("/check/{number}")
    def check(number: str) -> Verdict:
        return recipient.check(number)

    async def got(path: str) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return (await client.get(path)).json()

    for number in (LISTED, "+6281299999999"):
        answer = anyio.run(got, f"/check/{number}")
        write_json(verdict_document(number, recipient.check(number)))
        assert {"input": number, **answer} == json.loads(capsys.readouterr().out)
    schema = anyio.run(got, "/openapi.json")["components"]["schemas"]
    assert schema["Entry"]["properties"]["scope"]["type"] == "string"
    assert schema["Verdict"]["properties"]["as_of"]["format"] == "date-time"
