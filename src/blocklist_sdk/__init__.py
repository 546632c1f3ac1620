"""Exchange signed blocklists of fraud phone numbers.

Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.errors import BlocklistError as BlocklistError
    from blocklist_sdk.errors import ExchangeError as ExchangeError
    from blocklist_sdk.errors import InvalidInput as InvalidInput
    from blocklist_sdk.errors import InvalidNumber as InvalidNumber
    from blocklist_sdk.errors import Locked as Locked
    from blocklist_sdk.errors import Malformed as Malformed
    from blocklist_sdk.errors import NotPermitted as NotPermitted
    from blocklist_sdk.errors import NotSynced as NotSynced
    from blocklist_sdk.errors import Refused as Refused
    from blocklist_sdk.errors import Stale as Stale
    from blocklist_sdk.errors import StorageFailed as StorageFailed
    from blocklist_sdk.errors import Unreachable as Unreachable
    from blocklist_sdk.errors import Untrusted as Untrusted
    from blocklist_sdk.exchange.aio_client import AsyncExchangeClient as AsyncExchangeClient
    from blocklist_sdk.exchange.client import ExchangeClient as ExchangeClient
    from blocklist_sdk.net.oauth import ClientCredentials as ClientCredentials
    from blocklist_sdk.net.oauth import PrivateKeyJwt as PrivateKeyJwt
    from blocklist_sdk.numbers.e164 import format_e164 as format_e164
    from blocklist_sdk.numbers.fast import normalize as normalize
    from blocklist_sdk.numbers.operators import operator_of as operator_of
    from blocklist_sdk.publisher.publisher import Publisher as Publisher
    from blocklist_sdk.recipient.aio import AsyncBlocklist as AsyncBlocklist
    from blocklist_sdk.recipient.blocklist import Blocklist as Blocklist
    from blocklist_sdk.recipient.blocklists import Blocklists as Blocklists
    from blocklist_sdk.recipient.guard import Guard as Guard
    from blocklist_sdk.records import BundleResult as BundleResult
    from blocklist_sdk.records import Change as Change
    from blocklist_sdk.records import Entry as Entry
    from blocklist_sdk.records import Explanation as Explanation
    from blocklist_sdk.records import Impact as Impact
    from blocklist_sdk.records import Override as Override
    from blocklist_sdk.records import Status as Status
    from blocklist_sdk.records import SyncResult as SyncResult
    from blocklist_sdk.records import UpkeepResult as UpkeepResult
    from blocklist_sdk.records import Verdict as Verdict
    from blocklist_sdk.records import Verification as Verification
    from blocklist_sdk.release.audit import AuditHead as AuditHead
    from blocklist_sdk.release.audit import AuditRecord as AuditRecord
    from blocklist_sdk.release.audit import SeenAuditHead as SeenAuditHead

__version__ = "0.1.0"

attach(
    __name__,
    {
        "AsyncBlocklist": "recipient.aio",
        "AsyncExchangeClient": "exchange.aio_client",
        "AuditHead": "release.audit",
        "AuditRecord": "release.audit",
        "Blocklist": "recipient.blocklist",
        "BlocklistError": "errors",
        "Blocklists": "recipient.blocklists",
        "BundleResult": "records",
        "Change": "records",
        "ClientCredentials": "net.oauth",
        "Entry": "records",
        "ExchangeClient": "exchange.client",
        "ExchangeError": "errors",
        "Explanation": "records",
        "Guard": "recipient.guard",
        "Impact": "records",
        "InvalidInput": "errors",
        "InvalidNumber": "errors",
        "Locked": "errors",
        "Malformed": "errors",
        "NotPermitted": "errors",
        "NotSynced": "errors",
        "Override": "records",
        "PrivateKeyJwt": "net.oauth",
        "Publisher": "publisher.publisher",
        "Refused": "errors",
        "SeenAuditHead": "release.audit",
        "Stale": "errors",
        "Status": "records",
        "StorageFailed": "errors",
        "SyncResult": "records",
        "UpkeepResult": "records",
        "Unreachable": "errors",
        "Untrusted": "errors",
        "Verdict": "records",
        "Verification": "records",
        "format_e164": "numbers.e164",
        "normalize": "numbers.fast",
        "operator_of": "numbers.operators",
    },
)
