"""The public face: what it exports, and what importing it costs."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from types import FunctionType

import pytest

import blocklist_sdk

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

PUBLIC = {
    "blocklist_sdk": """
        AsyncBlocklist AsyncExchangeClient AuditHead AuditRecord Blocklist BlocklistError Blocklists BundleResult
        Change ClientCredentials Entry ExchangeClient ExchangeError Explanation Guard Impact InvalidInput InvalidNumber
        Locked Malformed NotPermitted NotSynced Override PrivateKeyJwt Publisher Refused SeenAuditHead Stale Status
        StorageFailed SyncResult Unreachable Untrusted UpkeepResult Verdict Verification __version__ format_e164
        normalize operator_of
    """,
    "blocklist_sdk.recipient": """
        ArrowArray ArrowColumn ArrowStream ArrowTable AsyncOverrides BackgroundSync Changes ImportResult OUTCOMES
        Overrides
        Reason Screening ScreeningResult StopSignal SyncOutcome SyncStopped Tally TransportSettings instrument
        screen_file write_metrics
    """,
    "blocklist_sdk.numbers": """
        Form FormDecision NumberRange OperatorResolver brand_of check_e164 decide_form format_e164 normalize
        normalize_column normalizer operator_of parse_pattern register_operators
    """,
    "blocklist_sdk.enforcement": """
        Batch CategoryFigures DayFigures DayImpact Drift EnforcementResult EnforcementSettings HeldItem
        IdentifiedSink Items Ledger LedgerRecord OperationFigures Outcome ProbeableSink ReadableSink ReasonFigures
        ReceiptsResult RepairFigures Shadow ShadowImpact Sink SinkChange SinkIdentity SinkUnavailable SinkWarning
        Statement TransactionalSink WaitingChanges WarningSink all_done enforce items_of
        ledger_id ledger_path monthly_statement new_webhook_secret open_sink receipts_of reconcile send_receipts
        shadow_impact signed_headers statement_html verify_webhook webhook_keys
    """,
    "blocklist_sdk.enforcement.sinks": """
        DropFile DropResponse FileSink KafkaSink PostgresSink REDIS_LOOK_UP RedisSink WebhookSink
        drop_response_name open_file_sink open_kafka_sink open_postgres_sink open_redis_sink open_webhook_sink
        read_drop_file read_drop_response redis_is_blocked redis_keys write_drop_response
    """,
    "blocklist_sdk.testing": """
        ContractBroken Item SinkContract check_sink make_batch make_items outcomes_of
    """,
    "blocklist_sdk.publisher": """
        FeedStatus KeyChange KeyRole KeyStatus KeyUri Lifetimes ListedRange NeededSignatures OverdueRole Proposal
        ProtectionChange ProtectionResult Publisher
        PublisherGuard PublisherStatus RefreshResult ReleaseImpact ReleaseResult RoleStatus SnapshotResult
        SurprisingChange Timing
        serving
    """,
    "blocklist_sdk.tables": """
        Reject TableOptions
    """,
    "blocklist_sdk.mirror": """
        MirrorResult mirror
    """,
    "blocklist_sdk.exchange": """
        Account Appeal BulkItem Case Certificates ClientSettings Decision Event Evidence Feed FieldProblem Health Lifted
        Listing NewReceipt NewReport NumberStatus Problem Publication Receipt ReceiptItem ReceiptOutcome
        RecipientStatistics RecycledAnswer RecycledBatch RecycledNumber Report Spread Statistics WaitingListing
        WaitingRelease new_receipt new_report tls_context certificates_in_use token_url_of
    """,
    "blocklist_sdk.exchange_server": """
        Exchange ExchangeSettings FeedRule Judge RoutingRules TlsFiles create_app openapi_document serving_exchange
    """,
}
"""What users may rely on, by the package that they import it from; everything else is private. A change here goes with
a line in CHANGELOG.md and a change in docs/reference/api."""

NAMES = {package: set(names.split()) for package, names in PUBLIC.items()}
PAGES = Path(__file__).parents[1] / "docs" / "reference"

HEAVY = ("anyio", "httpx", "opentelemetry", "tuf", "pyarrow", "numpy", "pydantic", "phonenumbers", "typer", "rich")
"""Packages that load when they are first needed, and not before."""


@pytest.mark.parametrize("package", NAMES)
def test_a_package_offers_exactly_these_names(package: str) -> None:
    module = importlib.import_module(package)
    assert set(vars(module)["__all__"]) == NAMES[package]
    wrong = {
        name
        for name in NAMES[package]
        if isinstance(value := getattr(module, name), type | FunctionType)
        and value.__module__ != ("blocklist_sdk" if name in NAMES["blocklist_sdk"] else package)
    }
    assert not wrong, "these say that they belong to another package"


def test_no_two_packages_offer_one_name_for_two_things() -> None:
    homes: dict[str, list[object]] = {}
    for package, names in NAMES.items():
        for name in names - {"__version__"}:
            homes.setdefault(name, []).append(getattr(importlib.import_module(package), name))
    assert not [name for name, values in homes.items() if any(value is not values[0] for value in values)]


def test_the_reference_has_every_public_name_and_no_other() -> None:
    """Errors have a page of their own."""
    from blocklist_sdk import errors

    text = "".join(page.read_text(encoding="utf-8") for page in (PAGES / "api").glob("*.md"))
    found = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", text, re.MULTILINE))
    listed = {f"{package}.{name}" for package, names in NAMES.items() for name in names - set(dir(errors))}
    twice = {f"{package}.{name}" for package, names in NAMES.items() for name in names & NAMES["blocklist_sdk"]}
    twice -= {f"blocklist_sdk.{name}" for name in NAMES["blocklist_sdk"]}
    sandbox = {"blocklist_sdk.sandbox.sandbox", "blocklist_sdk.sandbox.Sandbox"}
    assert found - sandbox == listed - twice - {"blocklist_sdk.__version__"}


def test_the_version_is_the_one_in_the_project_file() -> None:
    assert blocklist_sdk.__version__ == tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Blacklist'"):
        blocklist_sdk.Blacklist  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_of_the_tree_is_exported() -> None:
    from blocklist_sdk import errors

    defined = {
        value.__name__
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.BlocklistError)
    }
    assert defined <= NAMES["blocklist_sdk"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import json, sys, blocklist_sdk; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint(HEAVY)
    assert "blocklist_sdk" in loaded


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (files("blocklist_sdk") / "py.typed").is_file()
