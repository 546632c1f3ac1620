"""The conformance kit passes our own client and a second implementation, and refuses readers that skip something."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.conformance import CommandReader, ReaderFailed, run_kit
from blocklist_sdk.conformance.__main__ import main
from blocklist_sdk.conformance.judge import wrong
from blocklist_sdk.conformance.kit import selected
from blocklist_sdk.conformance.reader import answer
from blocklist_sdk.conformance.results import CaseResult, KitResult, Outcome
from blocklist_sdk.conformance.vectors import cases
from support import plain_reader
from support.plain_reader import PlainReader
from support.waiting import until

OWN = [sys.executable, "-m", "blocklist_sdk.conformance.reader"]


@pytest.mark.parametrize(
    "groups", [["sync"], ["refuse"], ["limits", "look-ups", "digest", "plans", "numbers"]], ids="+".join
)
def test_our_own_client_passes_all_of_it(groups: list[str]) -> None:
    result = run_kit(answer, only=groups, strict=True)
    assert [(case.name, case.problem) for case in result.cases if case.outcome != "passed"] == []
    assert {case.group for case in result.cases} == set(groups)
    assert result.passed


def test_the_groups_above_are_all_there_are() -> None:
    assert {case.group for case in cases()} == {"sync", "refuse", "limits", "look-ups", "digest", "plans", "numbers"}


def test_a_reader_written_from_the_page_alone_passes() -> None:
    result = run_kit(PlainReader())
    assert result.passed
    outcomes = {case.name: case.outcome for case in result.cases if case.outcome != "passed"}
    # It does not bound what a release may cost, and it reads no texts; neither is required.
    limits = {case.name: "failed" for case in selected(["limits"])}
    assert outcomes == {**limits, "numbers": "not-offered", "look-ups": "not-offered"}
    assert not run_kit(PlainReader(), only=["limits"], strict=True).passed


LOOKED_UP = {"to-the-newest", "delta-after-snapshot", "release-by-release", "two-at-once"}

BROKEN: dict[type[PlainReader], tuple[set[str], str]] = {
    plain_reader.SkipsDigest: ({"digest-differs", "delta-digest"}, "took release 2, which it must refuse as malformed"),
    plain_reader.SkipsExpiry: (
        {"stale", *(f"expired-{role}" for role in ("root", "timestamp", "snapshot", "targets", "feed"))},
        "took release 2, which it must refuse as stale",
    ),
    plain_reader.SkipsOrder: ({"order", "order-entries", "delta-order"}, "took release 2, which it must refuse"),
    plain_reader.SortsRows: ({"order-sorted", "delta-order"}, "took release 2, which it must refuse as malformed"),
    plain_reader.SkipsRanges: (
        LOOKED_UP,
        "6281200000019 at 2026-06-15T12:00:00Z: answered not blocked (not-listed), expected blocked (listed)",
    ),
    plain_reader.SkipsEnds: (
        {*LOOKED_UP, "moments"},
        "6281200000400 at 2026-06-15T12:00:00Z: answered blocked (listed), expected not blocked (expired)",
    ),
    plain_reader.SkipsScopes: (
        LOOKED_UP,
        "6281200000001 for messaging at 2026-06-15T12:00:00Z: answered blocked (listed), expected not blocked",
    ),
    plain_reader.SkipsRollbacks: (
        {"rollback-serial", "same-serial", "published-earlier", "era-back"},
        "took release 3, which it must refuse as untrusted",
    ),
    plain_reader.SkipsSignatures: (
        {
            *(f"signature-{name}" for name in ("timestamp", "snapshot", "targets", "feed", "changed")),
            *(f"threshold-{name}" for name in ("root", "old-root", "feed", "same-key")),
            "another-root",
        },
        "took release 2, which it must refuse as untrusted",
    ),
    plain_reader.SkipsHashes: (
        {"file-changed", "file-longer", "file-shorter", "index-changed"},
        "took release 2, which it must refuse as untrusted",
    ),
    plain_reader.SkipsProtected: (
        LOOKED_UP,
        "6281200000013 at 2026-06-15T12:00:00Z: answered blocked (listed), expected not blocked (protected)",
    ),
}
"""What each broken reader gets wrong, of what is required, and what is said of one of these cases."""

OTHERS = {"snapshot", "moments", "stale", "digest-differs", "expired-feed", "order", "rollback-serial", "file-changed"}
"""Cases that each broken reader passes, but for those that it must not."""


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_reader_is_refused_for_what_it_leaves_out(broken: type[PlainReader]) -> None:
    expected, said = BROKEN[broken]
    result = run_kit(broken(), only=sorted(expected | OTHERS))
    assert not result.passed
    failed = {case.name: case.problem for case in result.cases if case.outcome == "failed"}
    assert failed.keys() == expected
    assert any(said in problem for problem in failed.values() if problem)


def test_a_reader_that_refuses_everything_is_refused() -> None:
    result = run_kit(plain_reader.RefusesEverything(), only=["snapshot", "signature-*"])
    assert {case.outcome for case in result.cases} == {"failed"}
    assert "refused a repository that is as it should be: untrusted (one never knows)" in str(result.cases[0].problem)


def test_a_program_is_a_reader() -> None:
    assert run_kit(CommandReader(OWN), only=["empty-list"]).passed


def a_program(tmp_path: Path, text: str) -> CommandReader:
    program = tmp_path / "reader.py"
    program.write_text(f"import json, sys, time\n{text}\n")
    return CommandReader([sys.executable, str(program)], timeout_s=20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sys.exit('no such module')", "it ended with 1 and wrote no JSON: no such module"),
        ("print('[]')", "it wrote JSON that is not an object"),
        ("print(json.dumps({'error': 'stale'}))", "it answered with the error 'stale', but exited with 0"),
        ("print(json.dumps({'serial': 1})); sys.exit(3)", "it answered, but ended with 3"),
        ("pass", "it ended with 0 and wrote no JSON: nothing at all"),
        ("print('[' * 100_000)", "it ended with 0 and wrote no JSON"),
        ("while True: print('x' * 100_000)", "it wrote more than 16,777,216 bytes, and was stopped"),
        ("while True: print('x' * 100_000, file=sys.stderr)", "it wrote more than 16,777,216 bytes, and was stopped"),
    ],
)
def test_what_is_no_answer_fails_the_case(tmp_path: Path, text: str, said: str) -> None:
    result = run_kit(a_program(tmp_path, text), only=["signature-feed", "snapshot"])
    assert {case.outcome for case in result.cases} == {"failed"}
    assert all(said in str(case.problem) for case in result.cases)


def test_an_answer_that_does_not_come_fails_the_case(tmp_path: Path) -> None:
    reader = a_program(tmp_path, "time.sleep(60)")
    reader._timeout_s = 0.2
    with pytest.raises(ReaderFailed, match=r"not answered after 0\.2 seconds"):
        reader("check", {})


def test_what_a_reader_has_started_ends_with_it(tmp_path: Path) -> None:
    """As where the command is a script that starts the reader."""
    text = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open({str(tmp_path / "child")!r}, "w") as file:
    file.write(str(child.pid))
"""
    reader = a_program(tmp_path, text)
    reader._timeout_s = 1.0
    with pytest.raises(ReaderFailed, match=r"not answered after 1 seconds"):
        reader("check", {"large": "x" * 1_000_000})
    child = int((tmp_path / "child").read_text())
    until(lambda: not is_running(child))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_reader_that_was_stopped_is_not_waited_for(tmp_path: Path) -> None:
    reader = a_program(tmp_path, "time.sleep(60)")
    reader.stop()
    with pytest.raises(ReaderFailed, match="it was stopped"):
        reader("check", {})


@pytest.mark.parametrize(
    ("step", "given", "said"),
    [
        ({"do": "sync", "expect": {"error": ["stale"]}}, {"error": "oops"}, "an error of the kind 'oops'"),
        (
            {"do": "sync", "expect": {"error": ["stale"]}},
            {"error": "untrusted", "message": "x"},
            "refused it as untrusted (x), but must refuse it as stale",
        ),
        ({"do": "sync", "expect": {"serial": 2, "digest": "d"}}, {"serial": "2", "digest": "d"}, "the serial '2'"),
        ({"do": "sync", "expect": {"serial": 2, "digest": "d"}}, {"serial": 2}, "the digest None"),
        ({"do": "check", "error": ["not-synced"]}, {"serial": 1, "answers": []}, "answered questions, which it must"),
        ({"do": "check", "serial": 1, "stale": False, "answers": []}, {"error": "stale"}, "did not answer questions"),
        ({"do": "check", "serial": 1, "stale": True, "answers": []}, {"serial": 1, "stale": False}, "with stale False"),
        (
            {"do": "check", "serial": 1, "stale": True, "answers": [{}]},
            {"serial": 1, "stale": True, "answers": "none"},
            "gave 0 answers to 1 questions",
        ),
        ({"do": "look-ups", "answers": [{}]}, {"answers": []}, "gave 0 answers to 1 questions"),
        (
            {
                "do": "look-ups",
                "now": "n",
                "answers": [{"text": "112", "region": "ID", "form": "national", "invalid": "x"}],
            },
            {"answers": [{"blocked": True, "reason": "listed"}]},
            "'112' in ID (national) at n: answered blocked (listed), expected no number (x)",
        ),
        ({"do": "digest", "digest": "a"}, {"digest": "b"}, "answered the digest 'b', expected 'a'"),
        ({"do": "plans", "asked": [{}]}, {}, "gave 0 plans for 1"),
        (
            {"do": "plans", "asked": [{"about": "a", "expect": {"any_of": [["x"]]}}]},
            {"answers": [{"files": ["y"]}]},
            "a: answered ['y'], expected ['x']",
        ),
        ({"do": "numbers", "asked": [{}]}, {"answers": []}, "gave 0 answers to 1 texts"),
        (
            {
                "do": "numbers",
                "asked": [{"text": "GoPay", "region": "ID", "form": "national", "invalid": "letters"}] * 5,
            },
            {"answers": [{"number": 46729}] * 5},
            "'GoPay' in ID (national): answered 46729, expected no number (letters)",
        ),
    ],
)
def test_wrong_answers_are_told(step: Mapping[str, Any], given: Mapping[str, Any], said: str) -> None:
    assert said in str(wrong(step, given))


def test_a_few_wrong_answers_stand_for_all() -> None:
    asked = [{"text": f"x{i}", "region": None, "form": "national", "invalid": "letters"} for i in range(9)]
    told = str(wrong({"do": "numbers", "asked": asked}, {"answers": [{"number": 1}] * 9}))
    assert told.endswith("and 6 more")


def test_a_reader_is_not_told_what_it_must_answer() -> None:
    seen: list[str] = []

    def spy(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(json.dumps(document))
        return answer(action, document)

    run_kit(spy, only=["snapshot", "look-ups", "one", "plans", "numbers"])
    for word in ("expect", "blocked", "reason", "any_of", "invalid", "tree-c6a4"):
        assert not any(word in document for document in seen)


# The command


def test_the_command_says_what_passed_and_failed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "snapshot", "--only", "numbers", *OWN]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out == [
        *("sync", "  pass  snapshot", "numbers (not required)", "  pass  numbers"),
        *("", "2 of 2 cases passed. The reader conforms."),
    ]


def test_a_case_that_fails_counts_if_it_is_required_or_the_kit_is_strict() -> None:
    fine = CaseResult("a", "sync", "", True, False, "passed")
    failed = CaseResult("b", "limits", "", False, False, "failed", "x")
    assert KitResult((fine, failed)).passed
    assert not KitResult((fine, failed), strict=True).passed
    assert not KitResult((failed,)).passed, "no other case says anything about the reader"


def test_a_reader_may_leave_an_action_out_but_not_get_it_wrong() -> None:
    def without(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return {"error": "not-offered", "message": ""} if action == "numbers" else answer(action, document)

    def shortened(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        given = answer(action, document)
        return {"answers": given["answers"][:-1]} if action == "numbers" else given

    assert run_kit(without, only=["snapshot", "numbers"]).passed
    result = run_kit(shortened, only=["snapshot", "numbers"])
    assert not result.passed
    assert "1 failed, 1 of which counts against this reader" in result.summary()


@pytest.mark.parametrize(
    ("action", "added", "said"),
    [
        ("numbers", {"invalid": "no"}, "and no number (no) at once, expected"),
        ("plans", {"error": "malformed"}, "and malformed at once, expected"),
        ("look-ups", {"invalid": "letters"}, "and no number (letters) at once, expected"),
    ],
)
def test_an_answer_says_one_thing_only(action: str, added: dict[str, str], said: str) -> None:
    asked = action

    def doubled(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        given = answer(action, document)
        if action == asked:
            given["answers"] = [{**each, **added} for each in given["answers"]]
        return given

    (result,) = run_kit(doubled, only=[action]).cases
    assert result.outcome == "failed"
    assert said in str(result.problem)


def test_true_is_not_1() -> None:
    def numeric(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        given = answer(action, document)
        if action == "check" and "answers" in given:
            for each in given["answers"]:
                each["blocked"] = int(each["blocked"])
        return given

    assert not run_kit(numeric, only=["snapshot"]).passed


def test_what_a_failed_case_looks_like(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--only", "one", sys.executable, "-c", "print('{}')"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document.keys() == {"passed", "strict", "counts", "cases"}
    assert document["cases"][0].keys() == {"name", "group", "about", "required", "outcome", "problem", "counts_against"}
    assert document["counts"] == {"passed": 0, "failed": 1, "not-offered": 0}
    assert main(["--only", "one", "--strict", "--", sys.executable, "-c", "print('{}')"]) == 1
    out = capfd.readouterr().out
    assert "FAIL  one, which may be left out but not answered wrongly\n        One number without an end. Gen" in out
    assert "0 of 1 cases passed; 1 failed, 1 of which counts against this reader. The reader does not conform." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the reader's command"),
        (["no-such-program"], "no-such-program is not a program that can be started"),
        (["--only", "nothing", *OWN], "no case and no group is named nothing: --list shows them"),
    ],
)
def test_what_the_command_cannot_use_ends_it_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_command_lists_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cases())
    assert any("(not required) must be refused: 65 ranges cover one number" in line for line in lines)


def test_a_reader_that_offers_nothing_of_what_was_asked_does_not_conform() -> None:
    result = run_kit(lambda action, document: {"error": "not-offered"}, only=["digest", "numbers"])
    assert {case.outcome for case in result.cases} == {"not-offered"}
    assert not result.passed
    assert result.summary().endswith("The reader does not conform.")


def test_the_guide_shows_a_summary_as_it_is_written() -> None:
    def case(outcome: Outcome, count: int) -> tuple[CaseResult, ...]:
        return tuple(CaseResult("look-ups", "look-ups", "", False, False, outcome) for _ in range(count))

    required = tuple(CaseResult("a", "sync", "", True, False, "passed") for _ in range(111))
    unoffered = (*case("not-offered", 1), replace(case("not-offered", 1)[0], name="numbers"))
    summary = KitResult((*required, *case("failed", 3), *unoffered)).summary()
    guide = Path(__file__).parents[2] / "docs" / "how-to" / "read-a-feed-from-another-language.md"
    assert summary in guide.read_text(encoding="utf-8")
