"""Enforcement: the changes of a list carried into the recipient's own systems, and the outcome of each.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.items import Batch as Batch
    from blocklist_sdk.enforcement.items import Items as Items
    from blocklist_sdk.enforcement.items import SinkChange as SinkChange
    from blocklist_sdk.enforcement.ledger import Ledger as Ledger
    from blocklist_sdk.enforcement.paths import ledger_path as ledger_path
    from blocklist_sdk.enforcement.receipts import ReceiptsResult as ReceiptsResult
    from blocklist_sdk.enforcement.receipts import receipts_of as receipts_of
    from blocklist_sdk.enforcement.receipts import send_receipts as send_receipts
    from blocklist_sdk.enforcement.reconcile import Drift as Drift
    from blocklist_sdk.enforcement.reconcile import reconcile as reconcile
    from blocklist_sdk.enforcement.registry import open_sink as open_sink
    from blocklist_sdk.enforcement.run import EnforcementResult as EnforcementResult
    from blocklist_sdk.enforcement.run import enforce as enforce
    from blocklist_sdk.enforcement.settings import EnforcementSettings as EnforcementSettings
    from blocklist_sdk.enforcement.sink import HeldItem as HeldItem
    from blocklist_sdk.enforcement.sink import Outcome as Outcome
    from blocklist_sdk.enforcement.sink import ReadableSink as ReadableSink
    from blocklist_sdk.enforcement.sink import Sink as Sink
    from blocklist_sdk.enforcement.sink import SinkUnavailable as SinkUnavailable
    from blocklist_sdk.enforcement.sink import TransactionalSink as TransactionalSink
    from blocklist_sdk.enforcement.sink import all_done as all_done
    from blocklist_sdk.enforcement.statement import CategoryFigures as CategoryFigures
    from blocklist_sdk.enforcement.statement import DayFigures as DayFigures
    from blocklist_sdk.enforcement.statement import OperationFigures as OperationFigures
    from blocklist_sdk.enforcement.statement import ReasonFigures as ReasonFigures
    from blocklist_sdk.enforcement.statement import Statement as Statement
    from blocklist_sdk.enforcement.statement_page import statement_html as statement_html
    from blocklist_sdk.enforcement.statement_sums import monthly_statement as monthly_statement

attach(
    __name__,
    {
        "Batch": "items",
        "CategoryFigures": "statement",
        "DayFigures": "statement",
        "Drift": "reconcile",
        "EnforcementResult": "run",
        "EnforcementSettings": "settings",
        "HeldItem": "sink",
        "Items": "items",
        "Ledger": "ledger",
        "OperationFigures": "statement",
        "Outcome": "sink",
        "ReadableSink": "sink",
        "ReasonFigures": "statement",
        "ReceiptsResult": "receipts",
        "Sink": "sink",
        "SinkChange": "items",
        "SinkUnavailable": "sink",
        "Statement": "statement",
        "TransactionalSink": "sink",
        "all_done": "sink",
        "enforce": "run",
        "ledger_path": "paths",
        "monthly_statement": "statement_sums",
        "open_sink": "registry",
        "receipts_of": "receipts",
        "reconcile": "reconcile",
        "send_receipts": "receipts",
        "statement_html": "statement_page",
    },
)
