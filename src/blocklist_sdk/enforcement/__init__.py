"""Enforcement: a list's changes carried into the recipient's own systems, and what came of them.

Names load when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.items import Batch as Batch
    from blocklist_sdk.enforcement.items import SinkChange as SinkChange
    from blocklist_sdk.enforcement.receipts import SentReceipts as SentReceipts
    from blocklist_sdk.enforcement.receipts import send_receipts as send_receipts
    from blocklist_sdk.enforcement.reconcile import Drift as Drift
    from blocklist_sdk.enforcement.reconcile import reconcile as reconcile
    from blocklist_sdk.enforcement.registry import open_sink as open_sink
    from blocklist_sdk.enforcement.run import Enforced as Enforced
    from blocklist_sdk.enforcement.run import enforce as enforce
    from blocklist_sdk.enforcement.sink import Held as Held
    from blocklist_sdk.enforcement.sink import Outcome as Outcome
    from blocklist_sdk.enforcement.sink import Sink as Sink
    from blocklist_sdk.enforcement.sink import SinkDown as SinkDown

_HOME = {
    "Batch": "items",
    "Drift": "reconcile",
    "Enforced": "run",
    "Held": "sink",
    "Outcome": "sink",
    "SentReceipts": "receipts",
    "Sink": "sink",
    "SinkChange": "items",
    "SinkDown": "sink",
    "enforce": "run",
    "open_sink": "registry",
    "reconcile": "reconcile",
    "send_receipts": "receipts",
}
"""Where each name lives."""

__all__ = [
    "Batch",
    "Drift",
    "Enforced",
    "Held",
    "Outcome",
    "SentReceipts",
    "Sink",
    "SinkChange",
    "SinkDown",
    "enforce",
    "open_sink",
    "reconcile",
    "send_receipts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
