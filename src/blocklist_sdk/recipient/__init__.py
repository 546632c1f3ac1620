"""The recipient: a list on its own machine, kept up to date, asked, screened against, compared.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.fetch.stopping import StopSignal as StopSignal
    from blocklist_sdk.fetch.stopping import SyncStopped as SyncStopped
    from blocklist_sdk.fetch.transport import TransportSettings as TransportSettings
    from blocklist_sdk.recipient.aio_overrides import AsyncOverrides as AsyncOverrides
    from blocklist_sdk.recipient.arrow_types import ArrowArray as ArrowArray
    from blocklist_sdk.recipient.arrow_types import ArrowColumn as ArrowColumn
    from blocklist_sdk.recipient.arrow_types import ArrowStream as ArrowStream
    from blocklist_sdk.recipient.arrow_types import ArrowTable as ArrowTable
    from blocklist_sdk.recipient.background import BackgroundSync as BackgroundSync
    from blocklist_sdk.recipient.cache.overrides import ImportResult as ImportResult
    from blocklist_sdk.recipient.cache.overrides import Overrides as Overrides
    from blocklist_sdk.recipient.changes import Changes as Changes
    from blocklist_sdk.recipient.exports.files import export_file as export_file
    from blocklist_sdk.recipient.exports.result import ExportFormat as ExportFormat
    from blocklist_sdk.recipient.exports.result import ExportResult as ExportResult
    from blocklist_sdk.recipient.metrics import write_metrics as write_metrics
    from blocklist_sdk.recipient.otel import instrument as instrument
    from blocklist_sdk.recipient.screening.columns import Screening as Screening
    from blocklist_sdk.recipient.screening.files import ScreeningResult as ScreeningResult
    from blocklist_sdk.recipient.screening.files import screen_file as screen_file
    from blocklist_sdk.recipient.sync_outcomes import OUTCOMES as OUTCOMES
    from blocklist_sdk.recipient.sync_outcomes import SyncOutcome as SyncOutcome
    from blocklist_sdk.records import Reason as Reason
    from blocklist_sdk.records import Tally as Tally

attach(
    __name__,
    {
        "ArrowArray": "arrow_types",
        "ArrowColumn": "arrow_types",
        "ArrowStream": "arrow_types",
        "ArrowTable": "arrow_types",
        "AsyncOverrides": "aio_overrides",
        "BackgroundSync": "background",
        "Changes": "changes",
        "ExportFormat": "exports.result",
        "ExportResult": "exports.result",
        "ImportResult": "cache.overrides",
        "OUTCOMES": "sync_outcomes",
        "Overrides": "cache.overrides",
        "Reason": "blocklist_sdk.records",
        "Screening": "screening.columns",
        "ScreeningResult": "screening.files",
        "StopSignal": "blocklist_sdk.fetch.stopping",
        "SyncOutcome": "sync_outcomes",
        "SyncStopped": "blocklist_sdk.fetch.stopping",
        "Tally": "blocklist_sdk.records",
        "TransportSettings": "blocklist_sdk.fetch.transport",
        "export_file": "exports.files",
        "instrument": "otel",
        "screen_file": "screening.files",
        "write_metrics": "metrics",
    },
)
