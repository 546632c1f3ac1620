"""Whether an answer is the one that a step expects. Pure: no reader is asked here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from blocklist_sdk.conformance.talk import KINDS

_SHOWN: Final = 3
"""So many wrong answers are shown of a list of them."""


def wrong(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    """What is wrong with the answer to a step; None if nothing is."""
    kind = answer.get("error")
    if kind is not None and kind not in KINDS:
        return f"answered with an error of the kind {kind!r}, which is none of {', '.join(KINDS)}"
    return _JUDGES[step["do"]](step, answer)


def _sync(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    expected = step["expect"]
    if "error" in expected:
        return _error(expected["error"], answer, took=f"took release {answer.get('serial')}")
    if "error" in answer:
        return f"refused a repository that is as it should be: {_shown(answer)}"
    for name in ("serial", "digest"):
        if not _same(answer.get(name), expected[name]):
            return f"answered the {name} {answer.get(name)!r}, expected {expected[name]!r}"
    return None


def _same(given: Any, expected: Any) -> bool:
    """Whether two values are the same in JSON, where true is not 1, as it is in Python.

    >>> _same(3, 3), _same(1, True), _same(0, False), _same(None, None)
    (True, False, False, True)
    """
    return bool(given == expected) and isinstance(given, bool) is isinstance(expected, bool)


def _error(kinds: Sequence[str], answer: Mapping[str, Any], *, took: str) -> str | None:
    if "error" not in answer:
        return f"{took}, which it must refuse as {' or '.join(kinds)}"
    if answer["error"] not in kinds:
        return f"refused it as {_shown(answer)}, but must refuse it as {' or '.join(kinds)}"
    return None


def _shown(answer: Mapping[str, Any]) -> str:
    return f"{answer['error']} ({answer.get('message') or 'without a message'})"


def _check(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    if "error" in step:
        return _error(step["error"], answer, took="answered questions")
    if "error" in answer:
        return f"did not answer questions: {_shown(answer)}"
    for name in ("serial", "stale"):
        if not _same(answer.get(name), step[name]):
            return f"answered questions with {name} {answer.get(name)!r}, expected {step[name]!r}"
    return _first_few(_wrong_verdicts(step, _items(answer.get("answers"))))


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []


def _wrong_verdicts(step: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(answers) != len(step["answers"]):
        yield f"gave {len(answers)} answers to {len(step['answers'])} questions"
        return
    for expected, given in zip(step["answers"], answers, strict=True):
        if any(not _same(given.get(name), expected[name]) for name in ("blocked", "reason")):
            scope = f" for {expected['scope']}" if expected["scope"] else ""
            asked = f"{expected['number']}{scope} at {step['now']}"
            yield f"{asked}: answered {_verdict(given)}, expected {_verdict(expected)}"


def _verdict(answer: Mapping[str, Any]) -> str:
    return f"{'blocked' if answer.get('blocked') else 'not blocked'} ({answer.get('reason')})"


def _look_ups(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    answers = _items(answer.get("answers"))
    if len(answers) != len(step["answers"]):
        return f"gave {len(answers)} answers to {len(step['answers'])} questions"
    return _first_few(
        f"{asked['text']!r} in {asked['region']} ({asked['form']}) at {step['now']}: "
        f"answered {_verdict_or_why_not(given)}, expected {_verdict_or_why_not(asked)}"
        for asked, given in zip(step["answers"], answers, strict=True)
        if bool(asked.get("invalid")) is not bool(given.get("invalid"))
        or any(not _same(given.get(name), asked.get(name)) for name in ("blocked", "reason"))
    )


def _verdict_or_why_not(answer: Mapping[str, Any]) -> str:
    return _either(answer, "blocked", _verdict(answer), "invalid", f"no number ({answer.get('invalid')})")


def _either(answer: Mapping[str, Any], one: str, of_one: str, other: str, of_other: str) -> str:
    """What an item of an answer says, in words; where it says one thing and the other, both."""
    if _has_both(answer, one, other):
        return f"{of_one} and {of_other} at once"
    return of_other if answer.get(other) else of_one


def _has_both(answer: Mapping[str, Any], one: str, other: str) -> bool:
    return answer.get(one) is not None and bool(answer.get(other))


def _digest(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    given = answer.get("digest")
    return None if given == step["digest"] else f"answered the digest {given!r}, expected {step['digest']!r}"


def _plans(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    answers = _items(answer.get("answers"))
    if len(answers) != len(step["asked"]):
        return f"gave {len(answers)} plans for {len(step['asked'])}"
    return _first_few(
        f"{asked['about']}: answered {_files_or_error(given)}, expected {_wanted(asked['expect'])}"
        for asked, given in zip(step["asked"], answers, strict=True)
        if not _is_plan(asked["expect"], given)
    )


def _files_or_error(answer: Mapping[str, Any]) -> str:
    return _either(answer, "files", str(answer.get("files")), "error", str(answer.get("error")))


def _is_plan(expect: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    if _has_both(given, "files", "error"):
        return False
    return given.get("error") in expect["error"] if "error" in expect else given.get("files") in expect["any_of"]


def _wanted(expect: Mapping[str, Any]) -> str:
    return " or ".join(map(str, expect.get("error") or expect["any_of"]))


def _numbers(step: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    answers = _items(answer.get("answers"))
    if len(answers) != len(step["asked"]):
        return f"gave {len(answers)} answers to {len(step['asked'])} texts"
    return _first_few(
        f"{asked['text']!r} in {asked['region']} ({asked['form']}): "
        f"answered {_reading(given)}, expected {_reading(asked)}"
        for asked, given in zip(step["asked"], answers, strict=True)
        if not _same(given.get("number"), asked.get("number"))
        or bool(asked.get("invalid")) is not bool(given.get("invalid"))
    )


def _reading(answer: Mapping[str, Any]) -> str:
    return _either(answer, "number", str(answer.get("number")), "invalid", f"no number ({answer.get('invalid')})")


def _first_few(problems: Iterator[str]) -> str | None:
    found = list(problems)
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "; ".join([*found[:_SHOWN], *more]) or None


_JUDGES: Final[dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str | None]]] = {
    "sync": _sync,
    "check": _check,
    "look-ups": _look_ups,
    "digest": _digest,
    "plans": _plans,
    "numbers": _numbers,
}
