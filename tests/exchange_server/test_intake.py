"""Reports are collected in cases, count once, and are visible to their senders only."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.evidence_files import png_of
from support.talking import Talk, good, refused


def test_reports_on_one_number_gather_in_one_case_however_it_is_written(talk: Talk) -> None:
    first = talk.report(6281234567890)
    for text in ("0812-3456-7890", "62 812 3456 7890", "tel:+62-812-3456-7890"):
        again = talk.make("bank", "/v1/reports", talk.new_report(number=1) | {"number": text})
        assert (again["number"], talk.case_of(again)) == (6281234567890, first["case"])
    assert talk.report(6281234567891)["case"] != first["case"]


def test_a_report_without_evidence_is_incomplete_and_says_so(talk: Talk) -> None:
    made = talk.report()
    assert (made["case_state"], made["missing"], made["evidence"]) == ("incomplete", ["evidence"], [])
    refused(talk.post("anna", f"/v1/cases/{made['case']}/verification"), 409, "conflict")
    refused(talk.try_to_decide(made["case"]), 409)
    file = talk.attach(made["id"], content=png_of(300), name="bukti.png")
    assert (file["media_type"], file["name"]) == ("image/png", "bukti.png")
    now = talk.read("web", f"/v1/reports/{made['id']}")
    assert (now["case_state"], now["missing"], now["evidence"]) == ("received", [], [file])
    case = talk.case(made["case"])
    assert case["complete_at"] == talk.clock().isoformat().replace("+00:00", "Z")


def test_who_complains_again_is_heard_and_counted_once(talk: Talk) -> None:
    number = talk.number()
    first = talk.report(number, reporter="r1", category="spam")
    repeats = [talk.report(number, reporter="r1", category="phishing") for _ in range(3)]
    assert [each["repeats"] for each in repeats] == [first["id"]] * 3
    other = talk.report(number, reporter="r2", category="spam")
    elsewhere = talk.report(number, who="bank", reporter="r1", category="gambling")
    assert (other["repeats"], elsewhere["repeats"]) == (None, None)
    case = talk.case(first["case"])
    assert (case["reports"], case["reporters"], case["category"]) == (6, 3, "spam")


def test_a_case_tells_how_many_accounts_stand_behind_its_reporters(talk: Talk) -> None:
    number = talk.number()
    case = talk.report(number)["case"]
    for index in range(5):
        talk.report(number, reporter=f"made up {index}")
    assert (talk.case(case)["reporters"], talk.case(case)["accounts"]) == (6, 1)
    talk.report(number, who="bank")
    talk.report(number, who="care")
    listed = talk.read("anna", "/v1/cases")["items"][0]
    assert (listed["reporters"], listed["accounts"]) == (8, 3)


def test_the_same_file_is_one_piece_of_evidence_and_there_is_an_end_to_files(start: Any, database: str) -> None:
    talk = start(database, evidence_files=2)
    report = talk.report()["id"]
    first = talk.attach(report, content=png_of(201))
    assert talk.attach(report, content=png_of(201)) == first
    talk.attach(report, content=png_of(202))
    path = f"/v1/reports/{report}/evidence?name=c.png"
    refused(talk.post("web", path, content=png_of(203)), 409, "conflict")
    assert len(talk.read("web", f"/v1/reports/{report}")["evidence"]) == 2
    assert files_of(talk) == 2


def files_of(talk: Talk) -> int:
    return sum(path.is_file() for path in (talk.exchange.directory / "evidence").rglob("*"))


def test_a_bulk_answers_each_report_by_itself(talk: Talk) -> None:
    number = talk.number()
    reports = [
        talk.new_report(number),
        talk.new_report() | {"number": "110"},
        talk.new_report(number, reporter="r2"),
        talk.new_report(happened_at="2027-01-01T00:00:00Z"),
        talk.new_report(number),
    ]
    items = talk.make("web", "/v1/reports/bulk", {"reports": reports})["items"]
    assert [each["index"] for each in items] == [0, 1, 2, 3, 4]
    assert [each["report"] is not None for each in items] == [True, False, True, False, True]
    assert len({talk.case_of(items[index]["report"]) for index in (0, 2, 4)}) == 1
    assert items[4]["report"]["repeats"] == items[0]["report"]["id"]
    fields = [each["problem"]["errors"][0]["field"] for each in (items[1], items[3])]
    assert fields == ["body.reports.1.number", "body.reports.3.happened_at"]
    assert len(talk.read("web", "/v1/reports")["items"]) == 3


def test_a_bulk_that_cannot_be_read_is_refused_whole_and_names_the_first_place(lite: Talk) -> None:
    reports = [lite.new_report(), lite.new_report(category="No Category"), lite.new_report(channel="pigeon")]
    problem = refused(lite.post("web", "/v1/reports/bulk", {"reports": reports}), 422, "invalid")
    assert [each["field"] for each in problem["errors"]] == ["body.reports.1.category"]
    refused(lite.post("web", "/v1/reports/bulk", {"reports": []}), 422)
    refused(lite.post("web", "/v1/reports/bulk", {"reports": [lite.new_report()] * 1001}), 422)
    assert lite.read("web", "/v1/reports")["items"] == []


def test_a_thousand_reports_are_one_bulk(talk: Talk) -> None:
    reports = [talk.new_report(reporter=f"r{index}") for index in range(1000)]
    items = talk.make("web", "/v1/reports/bulk", {"reports": reports})["items"]
    assert all(each["report"] for each in items)
    assert len({talk.case_of(each["report"]) for each in items}) == 1000


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("number", "110", "body.number"),
        ("number", "GoPay", "body.number"),
        ("number", "0812345678*", "body.number"),
        ("number", "", "body.number"),
        ("number", 6281234567890, "body.number"),
        ("category", "Fraud", "body.category"),
        ("category", "fraud\n", "body.category"),
        ("channel", "pigeon", "body.channel"),
        ("text", "  ", "body.text"),
        ("text", "x" * 10_001, "body.text"),
        ("happened_at", "2026-11-01T10:00:00", "body.happened_at"),
        ("happened_at", "2026-11-03T10:00:00Z", "body.happened_at"),
        ("happened_at", "0001-01-01T00:00:00+14:00", "body.happened_at"),
        ("happened_at", "1969-12-31T23:59:59Z", "body.happened_at"),
        ("happened_at", "1970-01-01T00:00:00+14:00", "body.happened_at"),
        ("happened_at", "2999-12-31T23:59:59-14:00", "body.happened_at"),
        ("happened_at", "9999-12-31T23:59:59-14:00", "body.happened_at"),
        ("happened_at", 1762000000, "body.happened_at"),
        ("happened_at", "1762000000", "body.happened_at"),
        ("happened_at", "2026-11-01", "body.happened_at"),
        ("happened_at", "10:00:00Z", "body.happened_at"),
        ("happened_at", True, "body.happened_at"),
        ("reporter", "r" * 201, "body.reporter"),
        ("app", "a messenger", "body"),
        ("unknown", 1, "body"),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) < 40 else "long",
)
def test_each_field_that_cannot_be_used_is_named(lite: Talk, field: str, value: Any, where: str) -> None:
    import json

    body = json.dumps(lite.new_report() | {field: value}).encode()
    response = lite.post("web", "/v1/reports", content=body, headers={"Content-Type": "application/json"})
    problem = refused(response, 422, "invalid")
    assert where in [each["field"] for each in problem["errors"]]
    assert lite.read("web", "/v1/reports")["items"] == []


def test_the_app_goes_with_messaging(lite: Talk) -> None:
    refused(lite.post("web", "/v1/reports", lite.new_report(channel="messaging")), 422)
    assert lite.report(channel="messaging", app="A Messenger")["app"] == "A Messenger"


def test_reports_are_their_reporters_own(talk: Talk) -> None:
    number = talk.number()
    mine, theirs = talk.report(number), talk.report(number, who="bank")
    assert [each["id"] for each in talk.read("web", f"/v1/reports?number=%2B{number}")["items"]] == [mine["id"]]
    assert [each["id"] for each in talk.read("bank", "/v1/reports")["items"]] == [theirs["id"]]
    refused(talk.get("web", f"/v1/reports/{theirs['id']}"), 404, "not-found")
    path = f"/v1/reports/{theirs['id']}/evidence?name=a.png"
    refused(talk.post("web", path, content=png_of(200)), 404, "not-found")
    assert files_of(talk) == 0
    assert talk.read("anna", f"/v1/reports/{theirs['id']}")["id"] == theirs["id"]
    both = talk.read("anna", f"/v1/cases/{mine['case']}/reports")["items"]
    assert [each["id"] for each in both] == [mine["id"], theirs["id"]]


def test_reports_since_a_moment(talk: Talk) -> None:
    talk.report()
    later = talk.clock.forward(hours=1)
    second = talk.report()
    items = talk.read("web", "/v1/reports", params={"since": later.isoformat()})["items"]
    assert [each["id"] for each in items] == [second["id"]]


def test_evidence_is_saved_by_officers_and_never_shown(talk: Talk) -> None:
    content = png_of(5000)
    file = talk.attach(talk.report()["id"], content=content, name="x.png")
    answer = talk.get("anna", f"/v1/evidence/{file['id']}?original=true")
    assert answer.content == content
    assert answer.headers["Content-Disposition"] == f'attachment; filename="evidence-{file["id"]}.png"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    refused(talk.get("anna", "/v1/evidence/999"), 404, "not-found")


# Idempotency


def test_a_request_sent_again_is_done_once_and_answered_alike(talk: Talk) -> None:
    body = talk.new_report()
    first = talk.post("web", "/v1/reports", body, key="one")
    again = talk.post("web", "/v1/reports", body, key="one")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(talk.read("web", "/v1/reports")["items"]) == 1
    refused(talk.post("web", "/v1/reports", body | {"text": "another"}, key="one"), 422, "key-reused")
    refused(talk.post("web", "/v1/reports/bulk", {"reports": [body]}, key="one"), 422, "key-reused")
    assert good(talk.post("bank", "/v1/reports", body, key="one"))["id"] != first.json()["id"]


def test_evidence_sent_again_is_there_once(talk: Talk) -> None:
    path = f"/v1/reports/{talk.report()['id']}/evidence?name=a.png"
    first = talk.post("web", path, content=png_of(200), key="file")
    again = talk.post("web", path, content=png_of(200), key="file")
    assert (first.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
    refused(talk.post("web", path, content=png_of(210), key="file"), 422, "key-reused")
    assert files_of(talk) == 1


def test_what_was_refused_can_be_sent_again_with_the_same_key(lite: Talk) -> None:
    report = lite.report()
    path = f"/v1/cases/{report['case']}/verification"
    refused(lite.post("anna", path, key="later"), 409)
    lite.attach(report["id"])
    assert good(lite.post("anna", path, key="later"))["state"] == "verifying"


def test_one_key_at_the_same_moment_has_one_effect(talk: Talk) -> None:
    body = talk.new_report()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: talk.post("web", "/v1/reports", body, key="same"), range(16)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.content for each in answers}) == 1
    assert sum("Idempotent-Replayed" in each.headers for each in answers) == 15
    assert len(talk.read("web", "/v1/reports")["items"]) == 1


def test_many_at_the_same_moment_gather_in_one_case(talk: Talk) -> None:
    number = talk.number()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda index: talk.report(number, reporter=f"r{index % 4}"), range(16)))
    assert len({each["case"] for each in made}) == 1
    case = talk.case(made[0]["case"])
    assert (case["reports"], case["reporters"]) == (16, 4)


def test_bulks_that_meet_in_the_middle_both_go_through(talk: Talk) -> None:
    numbers = [talk.number() for _ in range(60)]
    bulks = [[talk.new_report(n, reporter=f"b{b}") for n in (numbers, numbers[::-1])[b % 2]] for b in range(4)]
    with ThreadPoolExecutor(2) as pool:  # one account has one place
        answers = list(
            pool.map(
                lambda who, bulk: talk.make(who, "/v1/reports/bulk", {"reports": bulk}), ("web", "bank") * 2, bulks
            )
        )
    assert all(item["report"] for answer in answers for item in answer["items"])
    cases = {talk.case_of(item["report"]) for answer in answers for item in answer["items"]}
    assert len(cases) == 60


KEYS = {"none": None, "empty": "", "long": "x" * 129, "space": "with space"}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_needed_and_has_to_be_one(lite: Talk, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = lite.request("POST", "/v1/reports", json=lite.new_report(), headers=lite.token("web") | headers)
    refused(response, 400 if key is None else 422)
    assert lite.read("web", "/v1/reports")["items"] == []
