"""The reference exchange's server: casework, evidence, database, and the HTTP API (extra ``exchange``).

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.exchange_server.app import create_app as create_app
    from blocklist_sdk.exchange_server.app import openapi_document as openapi_document
    from blocklist_sdk.exchange_server.casework.routing_rules import FeedRule as FeedRule
    from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules as RoutingRules
    from blocklist_sdk.exchange_server.evidence.judge import Judge as Judge
    from blocklist_sdk.exchange_server.exchange import Exchange as Exchange
    from blocklist_sdk.exchange_server.serving import serving_exchange as serving_exchange
    from blocklist_sdk.exchange_server.settings import ExchangeSettings as ExchangeSettings
    from blocklist_sdk.net.server_tls import TlsFiles as TlsFiles

attach(
    __name__,
    {
        "Exchange": "exchange",
        "ExchangeSettings": "settings",
        "FeedRule": "casework.routing_rules",
        "Judge": "evidence.judge",
        "RoutingRules": "casework.routing_rules",
        "TlsFiles": "blocklist_sdk.net.server_tls",
        "create_app": "app",
        "openapi_document": "app",
        "serving_exchange": "serving",
    },
)
