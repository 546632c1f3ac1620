"""What integrators test with: a signed repository, an exchange and a clock of their own, and the contract of a sink.

Everything works in this process: no network, no waiting, and no file outside a temporary folder. Names are loaded when
they are first used; pytest is not needed for any of them. `blocklist_sdk.testing.plugin` has fixtures for pytest.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.testing.clock import Clock as Clock
    from blocklist_sdk.testing.clock import fake_clock as fake_clock
    from blocklist_sdk.testing.exchange import ExchangeFault as ExchangeFault
    from blocklist_sdk.testing.exchange import FakeExchange as FakeExchange
    from blocklist_sdk.testing.exchange import fake_exchange as fake_exchange
    from blocklist_sdk.testing.numbers import generated_numbers as generated_numbers
    from blocklist_sdk.testing.repository import FakeRepository as FakeRepository
    from blocklist_sdk.testing.repository import Fault as Fault
    from blocklist_sdk.testing.repository import fake_repository as fake_repository
    from blocklist_sdk.testing.sinks import ContractBroken as ContractBroken
    from blocklist_sdk.testing.sinks import Item as Item
    from blocklist_sdk.testing.sinks import MakeSink as MakeSink
    from blocklist_sdk.testing.sinks import SinkContract as SinkContract
    from blocklist_sdk.testing.sinks import check_sink as check_sink
    from blocklist_sdk.testing.sinks import make_batch as make_batch
    from blocklist_sdk.testing.sinks import make_items as make_items
    from blocklist_sdk.testing.sinks import outcomes_of as outcomes_of

attach(
    __name__,
    {
        "Clock": "clock",
        "ContractBroken": "sinks",
        "ExchangeFault": "exchange",
        "FakeExchange": "exchange",
        "FakeRepository": "repository",
        "Fault": "repository",
        "Item": "sinks",
        "MakeSink": "sinks",
        "SinkContract": "sinks",
        "check_sink": "sinks",
        "fake_clock": "clock",
        "fake_exchange": "exchange",
        "fake_repository": "repository",
        "generated_numbers": "numbers",
        "make_batch": "sinks",
        "make_items": "sinks",
        "outcomes_of": "sinks",
    },
)
