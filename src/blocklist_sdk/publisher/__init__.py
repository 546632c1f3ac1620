"""The publisher: keys, rows from lists, the signed repository, and a server for it.

Names load when they are first used: the signing libraries are heavy.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.publisher.ceremony import NeededSignatures as NeededSignatures
    from blocklist_sdk.publisher.ceremony import Proposal as Proposal
    from blocklist_sdk.publisher.folder import Timing as Timing
    from blocklist_sdk.publisher.guard import PublisherGuard as PublisherGuard
    from blocklist_sdk.publisher.keys import KeyUri as KeyUri
    from blocklist_sdk.publisher.protection import ProtectionChange as ProtectionChange
    from blocklist_sdk.publisher.publisher import Publisher as Publisher
    from blocklist_sdk.publisher.repository import Lifetimes as Lifetimes
    from blocklist_sdk.publisher.results import FeedStatus as FeedStatus
    from blocklist_sdk.publisher.results import KeyChange as KeyChange
    from blocklist_sdk.publisher.results import KeyRole as KeyRole
    from blocklist_sdk.publisher.results import KeyStatus as KeyStatus
    from blocklist_sdk.publisher.results import ListedRange as ListedRange
    from blocklist_sdk.publisher.results import OverdueRole as OverdueRole
    from blocklist_sdk.publisher.results import ProtectionResult as ProtectionResult
    from blocklist_sdk.publisher.results import PublisherStatus as PublisherStatus
    from blocklist_sdk.publisher.results import RefreshResult as RefreshResult
    from blocklist_sdk.publisher.results import ReleaseImpact as ReleaseImpact
    from blocklist_sdk.publisher.results import ReleaseResult as ReleaseResult
    from blocklist_sdk.publisher.results import RoleStatus as RoleStatus
    from blocklist_sdk.publisher.results import SurprisingChange as SurprisingChange
    from blocklist_sdk.publisher.serve import serving as serving

attach(
    __name__,
    {
        "FeedStatus": "results",
        "KeyChange": "results",
        "KeyRole": "results",
        "KeyStatus": "results",
        "KeyUri": "keys",
        "Lifetimes": "repository",
        "ListedRange": "results",
        "NeededSignatures": "ceremony",
        "OverdueRole": "results",
        "Proposal": "ceremony",
        "ProtectionChange": "protection",
        "ProtectionResult": "results",
        "Publisher": "publisher",
        "PublisherGuard": "guard",
        "PublisherStatus": "results",
        "RefreshResult": "results",
        "ReleaseImpact": "results",
        "ReleaseResult": "results",
        "RoleStatus": "results",
        "SurprisingChange": "results",
        "Timing": "folder",
        "serving": "serve",
    },
)
