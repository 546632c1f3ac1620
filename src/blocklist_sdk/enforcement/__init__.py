"""Enforcement: a list's changes carried into the recipient's own systems, and what came of them.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.items import Batch as Batch
    from blocklist_sdk.enforcement.items import SinkChange as SinkChange
    from blocklist_sdk.enforcement.receipts import ReceiptsResult as ReceiptsResult
    from blocklist_sdk.enforcement.receipts import send_receipts as send_receipts
    from blocklist_sdk.enforcement.reconcile import Drift as Drift
    from blocklist_sdk.enforcement.reconcile import reconcile as reconcile
    from blocklist_sdk.enforcement.registry import open_sink as open_sink
    from blocklist_sdk.enforcement.run import EnforcementResult as EnforcementResult
    from blocklist_sdk.enforcement.run import enforce as enforce
    from blocklist_sdk.enforcement.settings import EnforcementSettings as EnforcementSettings
    from blocklist_sdk.enforcement.sink import HeldItem as HeldItem
    from blocklist_sdk.enforcement.sink import Outcome as Outcome
    from blocklist_sdk.enforcement.sink import Sink as Sink
    from blocklist_sdk.enforcement.sink import SinkUnavailable as SinkUnavailable

attach(
    __name__,
    {
        "Batch": "items",
        "Drift": "reconcile",
        "EnforcementResult": "run",
        "EnforcementSettings": "settings",
        "HeldItem": "sink",
        "Outcome": "sink",
        "ReceiptsResult": "receipts",
        "Sink": "sink",
        "SinkChange": "items",
        "SinkUnavailable": "sink",
        "enforce": "run",
        "open_sink": "registry",
        "reconcile": "reconcile",
        "send_receipts": "receipts",
    },
)
