"""One complaint at an exchange, from the report to the receipts, and one appeal, back to the unblock.

``blocklist sandbox --script`` shows it.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from blocklist_sdk import times
from blocklist_sdk.demo.generated import RECIPIENTS, screenshot
from blocklist_sdk.demo.story import Step
from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import Case, NewReceipt, ReceiptOutcome
from blocklist_sdk.numbers import format_e164
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.records import SyncResult

if TYPE_CHECKING:
    from blocklist_sdk.sandbox import Sandbox

_PREFIX: Final = 62_812
"""The prefix of an operator in the sandbox; 8 subscriber digits follow."""

_WAIT_S: Final = 30.0


def play_complaint(box: "Sandbox") -> Iterator[Step]:
    """Play the story on a running exchange; each step is named after who acts.

    Raises:
        BlocklistError: a step failed, or did not have the expected result.
    """
    number = _PREFIX * 10**8 + secrets.randbelow(10**8)
    shown = format_e164(number)
    with contextlib.ExitStack() as stack:
        hotline, officer, second = (
            stack.enter_context(box.client(name)) for name in ("hotline", "officer", "second-officer")
        )
        clients = {name: stack.enter_context(box.client(name)) for name in RECIPIENTS}
        lists = {name: stack.enter_context(box.blocklist(name)) for name in RECIPIENTS}
        for blocklist in lists.values():
            blocklist.sync()

        report = hotline.submit_report(
            shown,
            category="fraud",
            channel="messaging",
            app="chat",
            text="You have won a prize: send the code that you have just got.",
            happened_at=times.now() - timedelta(hours=1),
            reporter="caller-1",
        )
        yield Step("hotline", f"reports {shown}: the report is {report.case_state}, because it lacks evidence")
        evidence = hotline.attach_evidence(report.id, screenshot(), name="screenshot.png")
        opened = next(officer.cases(number=shown))
        state = opened.state
        yield Step("hotline", f"adds a screenshot of {evidence.bytes} bytes: the case is {state}")

        seen = officer.start_verification(opened.id)
        reason = "The message asks for a one-time code."
        decision = officer.decide(opened.id, "block", reason=reason, urgent=True, version=seen.version)
        yield Step("officer", f"verifies and decides to block it, urgently, until {decision.until:%Y-%m-%d}")
        if decision.state == "proposed":
            second.confirm_decision(decision.id, version=second.get_case(opened.id).version)
            yield Step("second", "looks at the same evidence, and confirms it: no officer lists a number alone")
        case = _published(officer, opened.id, lambda case: all(each.listed_serial for each in case.listings))
        yield Step("exchange", "publishes releases: " + ", ".join(f"{e.feed} {e.listed_serial}" for e in case.listings))

        for name, blocklist in lists.items():
            result = blocklist.sync()
            yield Step(name, f"syncs ({result.kind}, {result.bytes:,} bytes): {_verdict(blocklist, number)}")
        _check_blocked(lists, number, by={"telkomsel", "chat"})

        for name in ("telkomsel", "chat"):
            _send(clients[name], case, RECIPIENTS[name], "enforced", lists[name].sync())
            yield Step(name, "sends its receipt: enforced")
        case = officer.get_case(opened.id)
        if case.state != "enforced":
            raise BlocklistError(f"the case is {case.state}, not enforced")
        yield Step("exchange", f"case {case.id} is {case.state}: every recipient concerned has answered")

        appeal = hotline.submit_appeal(number=shown, grounds="The number is mine since last week.", appellant="owner-1")
        yield Step("hotline", f"passes on appeal {appeal.id}: the case is {officer.get_case(case.id).state}")
        answered = officer.answer_appeal(appeal.id, grant=True, reason="The operator confirms the new owner.")
        if answered.proposed is not None:  # more than one officer may retract alone in a day
            second.confirm_decision(answered.proposed)
        case = _published(officer, case.id, lambda case: all(each.lifted_serial for each in case.listings))
        yield Step("officer", "grants it, lifted by " + ", ".join(f"{e.feed} {e.lifted_serial}" for e in case.listings))
        for name in ("telkomsel", "chat"):
            result = lists[name].sync()
            _send(clients[name], case, RECIPIENTS[name], "reversed", result)
            yield Step(name, f"syncs ({result.kind}): {_verdict(lists[name], number)}; sends its receipt: reversed")
        _check_blocked(lists, number, by=set())
        proof = ", ".join(
            f"{each.recipient} {each.lifted_at:%H:%M:%S}" if each.lifted_at else f"{each.recipient} not yet"
            for each in hotline.get_appeal(appeal.id).lifted
        )
        yield Step("hotline", f"learns who has lifted the block, and when: {proof}")
        month = officer.get_statistics(f"{times.now():%Y-%m}")
        yield Step(
            "exchange",
            f"counts {month.month}: {month.reports} reported, {month.published} published, {month.enforced} enforced",
        )


def _published(officer: ExchangeClient, case_id: int, is_published: Callable[[Case], bool]) -> Case:
    """A case once the publisher has handled it."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        case = officer.get_case(case_id)
        if is_published(case):
            return case
        time.sleep(0.1)
    raise BlocklistError(f"case {case_id} was not published within {_WAIT_S:g} s")


def _send(client: ExchangeClient, case: Case, feed: str, outcome: ReceiptOutcome, synced: SyncResult) -> None:
    entry = next(each.entry for each in case.listings if each.feed == feed and each.entry is not None)
    receipt = NewReceipt(feed=feed, serial=synced.after, entry=entry, outcome=outcome, at=times.now())
    for item in client.submit_receipts([receipt]):
        if item.status == "refused":
            raise BlocklistError(f"the exchange refuses the receipt: {item.reason}")


def _verdict(blocklist: Blocklist, number: int) -> str:
    verdict = blocklist.check(number)
    return f"{'blocked' if verdict else 'not blocked'} ({verdict.reason})"


def _check_blocked(lists: dict[str, Blocklist], number: int, *, by: set[str]) -> None:
    blocking = {name for name, blocklist in lists.items() if number in blocklist}
    if blocking != by:
        raise BlocklistError(f"blocked by {sorted(blocking)}, but should be by {sorted(by)}")
