"""From a citizen's report to the receipts, and from an appeal to the unblock: over real HTTP, every party with its own
account. All numbers are generated."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk import Blocklist, ExchangeClient, ExchangeError, NotPermitted
from blocklist_sdk.enforcement import Batch, Outcome, enforce
from blocklist_sdk.exchange.models import Case, NewReceipt
from blocklist_sdk.sandbox import RECIPIENTS, Sandbox, sandbox, screenshot
from support.waiting import until

NUMBER = 6281266644422
"""Telkomsel's, and generated: too rarely met to be among the sandbox's own."""

OWN, OTT, OTHER = "telkomsel", "chat", "indosat"
AN_HOUR_S = 3600


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox(cases=300) as box:
        yield box


def published(officer: ExchangeClient, case: int, is_so: Callable[[Case], bool]) -> Case:
    until(lambda: is_so(officer.get_case(case)))
    return officer.get_case(case)


class Network:
    """A recipient's blocking system, as a set of numbers."""

    def __init__(self) -> None:
        self.blocked: set[int] = set()

    def apply(self, batch: Batch) -> list[Outcome]:
        for change in batch:
            (self.blocked.discard if change.operation == "unblock" else self.blocked.add)(change.number)
        return [Outcome("reversed" if batch.operation == "unblock" else "enforced") for _ in batch]

    def close(self) -> None:
        pass


def enforced(box: Sandbox, name: str, blocklist: Blocklist, network: Network) -> dict[str, int]:
    """Enforce the list in the recipient's network, send receipts, and return the outcomes."""
    with box.client(name) as client:
        done = enforce(blocklist, network, name="network", receipts=client)
        assert done.receipts is not None
        assert (done.receipts.sent, done.receipts.refused) == (sum(done.outcomes.values()), 0)
        return done.outcomes


def test_a_complaint_from_report_to_receipt_and_an_appeal_back(box: Sandbox) -> None:
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(box.client(name)) for name in ("hotline", "officer", OTHER)}
        public = stack.enter_context(ExchangeClient(box.url))
        lists = {name: stack.enter_context(box.blocklist(name)) for name in RECIPIENTS}
        play(box, **clients, public=public, lists=lists)


def play(
    box: Sandbox,
    hotline: ExchangeClient,
    officer: ExchangeClient,
    indosat: ExchangeClient,
    public: ExchangeClient,
    lists: dict[str, Blocklist],
) -> None:
    for blocklist in lists.values():
        assert blocklist.sync().kind == "snapshot"
    networks = {name: Network() for name in RECIPIENTS}
    for name, blocklist in lists.items():
        enforced(box, name, blocklist, networks[name])
    month = f"{datetime.now(UTC):%Y-%m}"
    before = officer.get_statistics(month)
    assert public.get_number_status(f"+{NUMBER}").status == "not-known"

    # A citizen reports a number, with a screenshot.
    report = hotline.submit_report(
        "0812-6664-4422",
        category="phishing",
        channel="messaging",
        app="chat",
        text="Send the code that you have just got.",
        happened_at=datetime.now(UTC) - timedelta(hours=2),
        reporter="citizen-1",
    )
    assert (report.number, report.case_state, report.missing) == (NUMBER, "incomplete", ("evidence",))
    evidence = hotline.attach_evidence(report.id, screenshot(1), name="screenshot.png")
    assert (evidence.media_type, hotline.get_report(report.id).case_state) == ("image/png", "received")

    # An officer verifies it, and decides.
    (opened,) = officer.cases(number=f"+{NUMBER}")
    seen = officer.start_verification(opened.id)
    assert seen.state == "verifying"
    decided = officer.decide(
        opened.id, "block", reason="It asks for a one-time code.", urgent=True, version=seen.version
    )
    with box.client("second-officer") as second:
        second.confirm_decision(decided.id, version=second.get_case(opened.id).version)
    case = published(officer, opened.id, lambda case: case.state == "published")
    assert {each.feed: each.listed_serial for each in case.listings} == {
        "id-telkomsel": 2,
        "id-messaging": 2,
        "id-all": 2,
    }
    assert public.get_number_status(f"+{NUMBER}").status == "listed"

    # The home operator and the messaging provider get it by delta; the other operator does not.
    assert {name: blocklist.sync().kind for name, blocklist in lists.items()} == {
        OWN: "delta",
        OTT: "delta",
        OTHER: "none",
    }
    assert {name: NUMBER in blocklist for name, blocklist in lists.items()} == {OWN: True, OTT: True, OTHER: False}
    assert lists[OWN].check(NUMBER).entries[0].category == "phishing"

    # No account reads another's feed, or sends receipts for it.
    foreign = Blocklist.open(
        f"{box.url}/repository",
        feed="id-telkomsel",
        root=box.root,
        cache_dir=box.directory / "foreign",
        auth=box.auth(OTHER),
    )
    with foreign, pytest.raises(NotPermitted, match=f"the account {OTHER!r} may not have this file"):
        foreign.sync()
    entry = next(each.entry for each in case.listings if each.feed == "id-telkomsel" and each.entry is not None)
    stranger = NewReceipt(feed="id-telkomsel", serial=2, entry=entry, outcome="enforced", at=datetime.now(UTC))
    assert [item.status for item in indosat.submit_receipts([stranger])] == ["refused"]
    with pytest.raises(ExchangeError) as refused:
        indosat.get_case(case.id)
    assert refused.value.status == 403

    # Each enforces, and says so.
    assert enforced(box, OWN, lists[OWN], networks[OWN]) == {"enforced": 1}
    assert officer.get_case(case.id).state == "published"
    assert enforced(box, OTT, lists[OTT], networks[OTT]) == {"enforced": 1}
    assert enforced(box, OTHER, lists[OTHER], networks[OTHER]) == {}
    assert {name: NUMBER in network.blocked for name, network in networks.items()} == {
        OWN: True,
        OTT: True,
        OTHER: False,
    }
    assert officer.get_case(case.id).state == "enforced"

    # The number has a new owner, who appeals, and is right.
    appeal = hotline.submit_appeal(number=f"+{NUMBER}", grounds="It is mine since last week.", appellant="owner-1")
    assert case.id in [each.id for each in itertools.islice(officer.cases(), 2)]  # appeals come before all others
    assert officer.get_case(case.id).state == "appealed"
    officer.answer_appeal(appeal.id, grant=True, reason="The operator confirms the new owner.")
    assert public.get_number_status(f"+{NUMBER}").status == "not-known"
    case = published(officer, case.id, lambda case: all(each.lifted_serial for each in case.listings))
    assert case.state == "retracted"
    lifted = hotline.get_appeal(appeal.id).lifted
    assert {each.recipient: each.lifted_at for each in lifted} == {OWN: None, OTT: None}

    # Both lift it, and that is proved to the one who appealed.
    for name in (OWN, OTT):
        assert lists[name].sync().kind == "delta"
        assert NUMBER not in lists[name]
        assert enforced(box, name, lists[name], networks[name]) == {"reversed": 1}
        assert NUMBER not in networks[name].blocked
    lifted = hotline.get_appeal(appeal.id).lifted
    assert {each.recipient for each in lifted if each.lifted_at is not None} == {OWN, OTT}

    # The month's figures are right.
    after = officer.get_statistics(month)
    assert after.decisions is not None
    assert before.decisions is not None
    grown = {name: count - before.decisions[name] for name, count in after.decisions.items()}
    assert grown == {"block": 1, "advisory": 0, "reject": 0, "retract": 1}
    for name in ("reports", "cases", "published", "enforced"):
        assert getattr(after, name) - getattr(before, name) == 1, name
    mine, old = ({each.recipient: each for each in month.recipients} for month in (after, before))
    for name in (OWN, OTT):
        more = Counter(mine[name].receipts)
        more.subtract(old[name].receipts)
        assert more == {"enforced": 1, "reversed": 1}
        assert mine[name].retracted == 1
        assert mine[name].decision_to_enforcement.count == old[name].decision_to_enforcement.count + 1
        assert mine[name].retraction_to_lifting.count == 1
        assert 0 <= (mine[name].decision_to_enforcement.median_s or 0) <= AN_HOUR_S
        assert (mine[name].reports - old[name].reports, mine[name].decisions["retract"]) == (1, 1)
    assert (mine[OTHER].receipts, mine[OTHER].retracted) == (old[OTHER].receipts, 0)
    assert after.decision_to_enforcement is not None
    assert after.retraction_to_lifting is not None
    assert after.retraction_to_lifting.count == 2
    told = [event.event for event in officer.case_history(case.id)]
    assert [event for event in told if event not in ("listed", "lifted")] == [
        "opened",
        "reported",
        "evidence",
        "complete",
        "verifying",
        "proposed",
        "decided",
        "published",
        "receipt",
        "receipt",
        "enforced",
        "appealed",
        "retracted",
        "granted",
        "receipt",
        "receipt",
    ]
