"""Enforcement: carry the changes of a list into the recipient's own systems, and keep the outcome of each.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.brake import WaitingChanges as WaitingChanges
    from blocklist_sdk.enforcement.desired import items_of as items_of
    from blocklist_sdk.enforcement.items import Batch as Batch
    from blocklist_sdk.enforcement.items import Items as Items
    from blocklist_sdk.enforcement.items import SinkChange as SinkChange
    from blocklist_sdk.enforcement.ledger import Ledger as Ledger
    from blocklist_sdk.enforcement.ledger_state import LedgerRecord as LedgerRecord
    from blocklist_sdk.enforcement.paths import ledger_id as ledger_id
    from blocklist_sdk.enforcement.paths import ledger_path as ledger_path
    from blocklist_sdk.enforcement.receipts import ReceiptsResult as ReceiptsResult
    from blocklist_sdk.enforcement.receipts import receipts_of as receipts_of
    from blocklist_sdk.enforcement.receipts import send_receipts as send_receipts
    from blocklist_sdk.enforcement.reconciliation import Drift as Drift
    from blocklist_sdk.enforcement.reconciliation import reconcile as reconcile
    from blocklist_sdk.enforcement.registry import open_sink as open_sink
    from blocklist_sdk.enforcement.result import EnforcementResult as EnforcementResult
    from blocklist_sdk.enforcement.run import enforce as enforce
    from blocklist_sdk.enforcement.settings import EnforcementSettings as EnforcementSettings
    from blocklist_sdk.enforcement.shadow import DayImpact as DayImpact
    from blocklist_sdk.enforcement.shadow import Shadow as Shadow
    from blocklist_sdk.enforcement.shadow import ShadowImpact as ShadowImpact
    from blocklist_sdk.enforcement.shadow import shadow_impact as shadow_impact
    from blocklist_sdk.enforcement.sink import HeldItem as HeldItem
    from blocklist_sdk.enforcement.sink import IdentifiedSink as IdentifiedSink
    from blocklist_sdk.enforcement.sink import Outcome as Outcome
    from blocklist_sdk.enforcement.sink import ProbeableSink as ProbeableSink
    from blocklist_sdk.enforcement.sink import ReadableSink as ReadableSink
    from blocklist_sdk.enforcement.sink import Sink as Sink
    from blocklist_sdk.enforcement.sink import SinkIdentity as SinkIdentity
    from blocklist_sdk.enforcement.sink import SinkUnavailable as SinkUnavailable
    from blocklist_sdk.enforcement.sink import SinkWarning as SinkWarning
    from blocklist_sdk.enforcement.sink import TransactionalSink as TransactionalSink
    from blocklist_sdk.enforcement.sink import WarningSink as WarningSink
    from blocklist_sdk.enforcement.sink import all_done as all_done
    from blocklist_sdk.enforcement.statement import CategoryFigures as CategoryFigures
    from blocklist_sdk.enforcement.statement import DayFigures as DayFigures
    from blocklist_sdk.enforcement.statement import OperationFigures as OperationFigures
    from blocklist_sdk.enforcement.statement import ReasonFigures as ReasonFigures
    from blocklist_sdk.enforcement.statement import RepairFigures as RepairFigures
    from blocklist_sdk.enforcement.statement import Statement as Statement
    from blocklist_sdk.enforcement.statement_page import statement_html as statement_html
    from blocklist_sdk.enforcement.statement_sums import monthly_statement as monthly_statement
    from blocklist_sdk.enforcement.webhook_signatures import new_webhook_secret as new_webhook_secret
    from blocklist_sdk.enforcement.webhook_signatures import signed_headers as signed_headers
    from blocklist_sdk.enforcement.webhook_signatures import verify_webhook as verify_webhook
    from blocklist_sdk.enforcement.webhook_signatures import webhook_keys as webhook_keys

attach(
    __name__,
    {
        "Batch": "items",
        "CategoryFigures": "statement",
        "DayFigures": "statement",
        "DayImpact": "shadow",
        "Drift": "reconciliation",
        "EnforcementResult": "result",
        "EnforcementSettings": "settings",
        "HeldItem": "sink",
        "IdentifiedSink": "sink",
        "Items": "items",
        "Ledger": "ledger",
        "LedgerRecord": "ledger_state",
        "OperationFigures": "statement",
        "Outcome": "sink",
        "ProbeableSink": "sink",
        "ReadableSink": "sink",
        "ReasonFigures": "statement",
        "ReceiptsResult": "receipts",
        "RepairFigures": "statement",
        "Shadow": "shadow",
        "ShadowImpact": "shadow",
        "Sink": "sink",
        "SinkChange": "items",
        "SinkIdentity": "sink",
        "SinkUnavailable": "sink",
        "Statement": "statement",
        "SinkWarning": "sink",
        "TransactionalSink": "sink",
        "WaitingChanges": "brake",
        "WarningSink": "sink",
        "all_done": "sink",
        "items_of": "desired",
        "enforce": "run",
        "ledger_id": "paths",
        "ledger_path": "paths",
        "monthly_statement": "statement_sums",
        "new_webhook_secret": "webhook_signatures",
        "open_sink": "registry",
        "receipts_of": "receipts",
        "reconcile": "reconciliation",
        "send_receipts": "receipts",
        "shadow_impact": "shadow",
        "signed_headers": "webhook_signatures",
        "statement_html": "statement_page",
        "verify_webhook": "webhook_signatures",
        "webhook_keys": "webhook_signatures",
    },
)
