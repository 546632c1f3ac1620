"""The same requests on SQLite and on PostgreSQL give the same responses, IDs and states."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from support.evidence_files import png_of
from support.talking import Clock, Talk

Step = tuple[str, str | None, str, Any]


def script(talk: Talk) -> Iterator[Step]:
    """Requests of all roles over some weeks: method, account, path and body."""
    first, second, third = (6281234567890 + index for index in range(3))

    def new(number: int, who: str = "web", **fields: Any) -> Step:
        return "POST", who, "/v1/reports", talk.new_report(number, **fields)

    def read(*paths: str) -> Iterator[Step]:
        yield from (("GET", "anna", path, None) for path in paths)

    def receipt(who: str, feed: str, entry: int, serial: int, outcome: str) -> Step:
        one = talk.receipt(entry, feed=feed, serial=serial, outcome=outcome)
        return "POST", who, "/v1/receipts", {"receipts": [one, one]}

    def decision(case: int) -> dict[str, Any]:
        return {"kind": "block", "reason": "proved", "version": talk.version(case)}

    yield new(first)
    yield new(first, category="spam")
    yield new(first, who="bank", category="spam", reporter="r9")
    yield new(second, channel="messaging", app="A Messenger")
    yield "POST", "web", "/v1/reports", {"number": "110"}
    bulk = [talk.new_report(third, reporter=f"r{index % 3}") for index in range(5)]
    yield "POST", "bank", "/v1/reports/bulk", {"reports": [*bulk, talk.new_report() | {"number": "112"}]}
    yield from read("/v1/cases", "/v1/cases/1", "/v1/cases/3/reports?limit=2", "/v1/cases?state=incomplete")
    yield "POST", "anna", "/v1/cases/1/verification", None
    for report in (1, 4, 6):
        yield "FILE", "web" if report < 6 else "bank", f"/v1/reports/{report}/evidence?name=a.png", png_of(200 + report)
    yield "FILE", "bank", "/v1/reports/1/evidence?name=a.png", png_of(300)
    yield "FILE", "web", "/v1/reports/1/evidence?name=a.png", b"no picture"
    yield "POST", "anna", "/v1/cases/1/verification", None
    yield "POST", "budi", "/v1/cases/1/verification", None
    talk.clock.forward(hours=25)
    yield from read("/v1/cases?overdue=true&limit=1", "/v1/statistics/2026-11")
    yield "POST", "anna", "/v1/cases/1/decisions", decision(1) | {"urgent": True}
    yield "POST", "anna", "/v1/cases/2/decisions", decision(2) | {"kind": "advisory", "scope": ["messaging"]}
    yield "POST", "anna", "/v1/cases/3/decisions", {"kind": "reject", "reason": "no fraud"}
    yield "POST", "anna", "/v1/cases/3/decisions", decision(3)
    yield "POST", "press", "/v1/publications", {}
    yield from read("/v1/cases", "/v1/cases/1/history", "/v1/feeds", "/v1/publications/waiting", "/metrics")
    yield "POST", "anna", "/v1/publications/acceptances", {"feed": "id-all", "digest": "0" * 64}
    yield "GET", None, f"/v1/numbers/+{first}", None
    yield receipt("telkomsel", "id-telkomsel", 1, 1, "enforced")
    yield receipt("telkomsel", "id-messaging", 1, 1, "enforced")
    yield receipt("messenger", "id-messaging", 1, 1, "failed")
    talk.clock.forward(hours=2)
    yield receipt("messenger", "id-messaging", 1, 1, "enforced")
    yield receipt("messenger", "id-messaging", 9, 1, "enforced")
    yield from read("/v1/cases/1", "/v1/receipts", "/v1/receipts?feed=id-messaging&limit=1")
    appeal = {"grounds": "mine", "appellant": "p"}
    yield "POST", "web", "/v1/appeals", appeal | {"number": f"+{first}"}
    yield "POST", "bank", "/v1/appeals", appeal | {"feed": "id-telkomsel", "entry": 1}
    yield "POST", "care", "/v1/appeals", appeal | {"feed": "id-telkomsel", "entry": 1}
    yield "POST", "web", "/v1/appeals", appeal | {"number": f"+{third}"}
    yield "FILE", "web", "/v1/appeals/1/evidence?name=bill.png", png_of(400)
    yield from read("/v1/cases", "/v1/appeals", "/v1/appeals?state=open")
    yield "POST", "budi", "/v1/appeals/1/answer", {"grant": False, "reason": "no", "version": talk.version(1)}
    yield "POST", "budi", "/v1/appeals/2/answer", {"grant": True, "reason": "yes"}
    yield "POST", "budi", "/v1/appeals/2/answer", {"grant": True, "reason": "yes"}
    yield "POST", "press", "/v1/publications", {"everything": True}
    yield receipt("telkomsel", "id-telkomsel", 1, 2, "reversed")
    yield from read("/v1/appeals/2", "/v1/cases/1", "/v1/cases/1/history")
    yield new(first)
    until = (talk.clock() + timedelta(days=3)).isoformat()
    yield "FILE", "web", "/v1/reports/10/evidence?name=a.png", png_of(500)
    yield "POST", "anna", "/v1/cases/4/decisions", decision(4) | {"until": until}
    yield "POST", "press", "/v1/publications", {"everything": True}
    yield receipt("telkomsel", "id-telkomsel", 2, 3, "recycled")
    talk.clock.forward(days=4)
    yield "POST", "press", "/v1/publications", {}
    yield from read("/v1/cases?limit=2", "/v1/cases/2/history", "/v1/cases/4/history", "/v1/statistics/2026-11")
    yield "GET", "telkomsel", "/v1/statistics/2026-11", None
    yield "GET", "telkomsel", "/v1/receipts", None
    yield "GET", "web", "/v1/reports", None


def played(talk: Talk) -> list[tuple[int, str]]:
    """The responses."""
    answers = []
    for method, who, path, body in script(talk):
        if method == "GET":
            answer = talk.get(who, path)
        elif method == "FILE":
            answer = talk.post(who, path, content=body)
        else:
            answer = talk.post(who, path, body)
        assert answer.status_code < 500, (method, path, answer.text)
        answers.append((answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text)))
    return answers


def test_both_databases_answer_alike(start: Callable[..., Talk], new_postgres: Callable[[], str], clock: Clock) -> None:
    begun = clock()
    lite = played(start())
    clock.moment = begun
    postgres = played(start(new_postgres()))
    assert len(lite) >= 60
    assert [status for status, _ in lite].count(201) > 15
    for one, other in zip(lite, postgres, strict=True):
        assert one == other
