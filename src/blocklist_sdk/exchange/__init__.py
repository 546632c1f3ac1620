"""The client of an exchange, and the models that both of its ends share.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.exchange.calls import new_receipt as new_receipt
    from blocklist_sdk.exchange.calls import new_report as new_report
    from blocklist_sdk.exchange.models import Account as Account
    from blocklist_sdk.exchange.models import Appeal as Appeal
    from blocklist_sdk.exchange.models import BulkItem as BulkItem
    from blocklist_sdk.exchange.models import Case as Case
    from blocklist_sdk.exchange.models import Decision as Decision
    from blocklist_sdk.exchange.models import Event as Event
    from blocklist_sdk.exchange.models import Evidence as Evidence
    from blocklist_sdk.exchange.models import Feed as Feed
    from blocklist_sdk.exchange.models import FieldProblem as FieldProblem
    from blocklist_sdk.exchange.models import Health as Health
    from blocklist_sdk.exchange.models import Lifted as Lifted
    from blocklist_sdk.exchange.models import Listing as Listing
    from blocklist_sdk.exchange.models import NewReceipt as NewReceipt
    from blocklist_sdk.exchange.models import NewReport as NewReport
    from blocklist_sdk.exchange.models import NumberStatus as NumberStatus
    from blocklist_sdk.exchange.models import Problem as Problem
    from blocklist_sdk.exchange.models import Publication as Publication
    from blocklist_sdk.exchange.models import Receipt as Receipt
    from blocklist_sdk.exchange.models import ReceiptItem as ReceiptItem
    from blocklist_sdk.exchange.models import ReceiptOutcome as ReceiptOutcome
    from blocklist_sdk.exchange.models import RecipientStatistics as RecipientStatistics
    from blocklist_sdk.exchange.models import RecycledAnswer as RecycledAnswer
    from blocklist_sdk.exchange.models import RecycledBatch as RecycledBatch
    from blocklist_sdk.exchange.models import RecycledNumber as RecycledNumber
    from blocklist_sdk.exchange.models import Report as Report
    from blocklist_sdk.exchange.models import Spread as Spread
    from blocklist_sdk.exchange.models import Statistics as Statistics
    from blocklist_sdk.exchange.models import WaitingListing as WaitingListing
    from blocklist_sdk.exchange.models import WaitingRelease as WaitingRelease
    from blocklist_sdk.exchange.wire import ClientSettings as ClientSettings
    from blocklist_sdk.net.certificates import Certificates as Certificates
    from blocklist_sdk.net.certificates import certificates_in_use as certificates_in_use
    from blocklist_sdk.net.oauth import token_url_of as token_url_of
    from blocklist_sdk.net.tls import tls_context as tls_context

attach(
    __name__,
    {
        "Account": "models",
        "Appeal": "models",
        "BulkItem": "models",
        "Case": "models",
        "Certificates": "blocklist_sdk.net.certificates",
        "ClientSettings": "wire",
        "Decision": "models",
        "Event": "models",
        "Evidence": "models",
        "Feed": "models",
        "FieldProblem": "models",
        "Health": "models",
        "Lifted": "models",
        "Listing": "models",
        "NewReceipt": "models",
        "NewReport": "models",
        "NumberStatus": "models",
        "ReceiptOutcome": "models",
        "Problem": "models",
        "Publication": "models",
        "Receipt": "models",
        "ReceiptItem": "models",
        "RecipientStatistics": "models",
        "RecycledAnswer": "models",
        "RecycledBatch": "models",
        "RecycledNumber": "models",
        "Report": "models",
        "Spread": "models",
        "Statistics": "models",
        "WaitingListing": "models",
        "WaitingRelease": "models",
        "new_receipt": "calls",
        "new_report": "calls",
        "certificates_in_use": "blocklist_sdk.net.certificates",
        "tls_context": "blocklist_sdk.net.tls",
        "token_url_of": "blocklist_sdk.net.oauth",
    },
)
