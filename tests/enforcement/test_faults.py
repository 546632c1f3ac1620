"""Whatever fails between a list and its sink: no number stays blocked by mistake, and every outcome has a receipt."""

import contextlib
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_enforce import BASE, NUMBERS, put

from blocklist_sdk import Blocklist
from blocklist_sdk.enforcement import Outcome, SinkChange, enforce, reconcile
from blocklist_sdk.enforcement import ledger as ledgers
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.receipts import receipts_of
from blocklist_sdk.enforcement.settings import EnforcementSettings
from blocklist_sdk.enforcement.sink import PENDING
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.records import SCOPES
from support.memory_sink import MemorySink
from support.scale import scaled
from support.world import FEED, make_world


class Faulty:
    """Gives changes random outcomes: some are killed, fail, are refused or pending; half of these were done."""

    def __init__(self, chance: random.Random) -> None:
        self.is_on = True
        self.sink = MemorySink(self.fate)
        self._chance = chance

    def fate(self, change: SinkChange) -> Outcome | None:
        drawn = self._chance.random()
        if not self.is_on or drawn >= 0.28:
            return None
        if drawn < 0.06:
            return Outcome("refused", "not this one")
        if self._chance.random() < 0.5:
            if change.operation == "unblock":
                self.sink.held.pop(change.number, None)
            else:
                self.sink.held[change.number] = change
        if drawn < 0.1:
            raise KeyboardInterrupt
        return PENDING if drawn < 0.18 else Outcome("failed", "timeout")


def drawn_rows(chance: random.Random, now: datetime) -> list[dict[str, Any]]:
    """Rows with ranges, scopes, beginnings and ends; each number of an issuer once."""
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for _ in range(chance.randrange(8)):
        first, issuer = chance.choice(NUMBERS), f"issuer-{chance.randrange(4)}"
        since, lasts = now + timedelta(days=chance.choice((-3, -1, 1))), chance.choice((None, None, 1, 2, 4))
        more = chance.choice((0, 0, 0, 1, 5))
        rows[first, issuer] = {
            "number": f"+{first}",
            "last": f"+{first + more}" if more else None,
            "level": chance.choice(("block", "block", "advisory")),
            "scope": chance.choice(("sms", "voice", "sms+voice", "messaging")),
            "issuer": issuer,
            "since": since,
            "until": None if lasts is None else since + timedelta(days=lasts, hours=1),
        }
    return list(rows.values())


@pytest.mark.parametrize("seed", range(scaled(3, long=12)))
def test_no_block_outlives_its_entries_and_the_last_receipt_of_each_entry_is_true(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path / "world")
    monkeypatch.setattr(ledgers, "_FOLD_ROWS", 6)
    chance = random.Random(seed)
    faulty = Faulty(chance)
    for step in range(8):
        protected = [f"+{number}" for number in chance.sample(NUMBERS, chance.choice((0, 0, 1, 2)))]
        with Blocklist.open(
            world.url,
            feed=FEED,
            root=world.publisher.root,
            cache_dir=tmp_path / "cache",
            state_dir=tmp_path / "state",
            guard=None,
            protected=protected,
        ) as blocklist:
            now = datetime.now(UTC)
            decide(blocklist, chance, [number for number in NUMBERS if f"+{number}" not in protected], now)
            put(world, blocklist, drawn_rows(chance, now))
            for _ in range(2):
                with contextlib.suppress(KeyboardInterrupt):
                    run_somehow(blocklist, faulty.sink, chance, now)
            if step % 3 == 1:
                faulty.is_on = False
                enforce(blocklist, faulty.sink)
                check(blocklist, faulty.sink)
                faulty.is_on = True


def decide(blocklist: Blocklist, chance: random.Random, numbers: list[int], now: datetime) -> None:
    for number in chance.sample(numbers, 2):
        until = chance.choice((None, now + timedelta(days=1)))
        match chance.choice(("allow", "block", "remove")):
            case "allow":
                blocklist.overrides.allow(number, reason="generated", until=until)
            case "block":
                blocklist.overrides.block(number, reason="generated", until=until)
            case _:
                blocklist.overrides.remove(number)


def run_somehow(blocklist: Blocklist, sink: MemorySink, chance: random.Random, now: datetime) -> None:
    """Enforce with other scopes, another batch size, a cap, or another clock than the last time."""
    at = now + timedelta(days=chance.choice((0, 0, 2)))
    enforce(
        blocklist,
        sink,
        settings=EnforcementSettings(
            batch=chance.choice((1, 3, 100)),
            tries=3,
            scopes=chance.choice((None, None, ("sms",), ("voice", "messaging"))),
            daily_cap=chance.choice((None, None, 0, 3)),
        ),
        clock=lambda: at,
    )
    if chance.random() < 0.1:
        reconcile(blocklist, sink, repair=True)


def check(blocklist: Blocklist, sink: MemorySink) -> None:
    over = enforce(blocklist, sink)
    assert over.outcomes == {}
    for number in [*NUMBERS, BASE - 1, BASE + 20, BASE + 24]:
        wanted = {scope for scope in SCOPES if blocklist.check(number, scope=scope).blocked}
        assert sink.scopes(number) <= wanted, number
        assert over.set_aside or sink.scopes(number) == wanted, number
    generation, rules = internals_of(blocklist).in_force()
    items = desired_items(generation.rows, rules, datetime.now(UTC))
    blocking = {entry for place in range(len(items)) for entry in items.entries(place)}
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        last = {each.entry: each.outcome for record in ledger.records() for each in receipts_of(record)}
    for entry, outcome in last.items():
        assert outcome != "reversed" if entry in blocking else outcome != "enforced", entry
