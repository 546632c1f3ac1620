"""Questions and their answers as bytes: pure but for the list that is asked, so that every door says the same."""

import json
from collections.abc import Iterable
from typing import Any, Final

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.recipient.verdict_documents import json_line, verdict_document
from blocklist_sdk.records import SCOPES, Level, Scope

NUMBERS_MAX: Final = 10_000
"""Most numbers in one request."""

_MEMBERS: Final = frozenset({"numbers", "scope"})


def read_scope(text: str | None) -> Scope | None:
    """The scope that a client names.

    Raises:
        InvalidInput: it is unknown.

    >>> read_scope("sms"), read_scope(None)
    ('sms', None)
    """
    for scope in SCOPES:
        if text == scope:
            return scope
    if text is None:
        return None
    raise InvalidInput(f"the scope must be one of {', '.join(SCOPES)}; leave it out to ask for all")


def verdict_bytes(answers: Answers, text: str, scope: Scope | None) -> tuple[bytes, Level | None]:
    """The answer about one number, as ``blocklist check --json`` writes it, and its level.

    Raises:
        InvalidNumber, InvalidInput, NotSynced, Stale, StorageFailed: as `Answers` does.
    """
    verdict = answers.verdict(text, scope)
    return json_line(verdict_document(text, verdict)).encode(), verdict.level


def verdict_or_error(answers: Answers, number: str | int, scope: Scope | None) -> tuple[bytes, Level | None, bool]:
    """One line of a list of answers, its level, and whether it is a number; ``error`` is in the place of a verdict.

    Raises:
        NotSynced, Stale, StorageFailed: as `Answers` does.
    """
    text = str(number)
    try:
        verdict = answers.verdict(number, scope)
    except InvalidNumber as error:
        document = {"input": text, "error": {"type": type(error).__name__, "message": str(error)}}
        return _encoded(document), None, False
    return _encoded(verdict_document(text, verdict)), verdict.level, True


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        return json_line(document).encode()
    except UnicodeEncodeError:  # JSON can name halves of characters, which UTF-8 cannot
        return json_line(document, is_ascii=True).encode()


class BadQuestion(ValueError):
    """A body that is not a question; its message says what is expected, and repeats nothing of it."""


def read_question(body: bytes) -> tuple[list[str | int], str | None]:
    """The numbers of a body in JSON, and the scope that it names.

    Raises:
        BadQuestion: it is not such a body.

    >>> read_question(b'{"numbers": ["0812-3456-7890", 6281234567890], "scope": "sms"}')
    (['0812-3456-7890', 6281234567890], 'sms')
    """
    try:
        document = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except BadQuestion:
        raise
    except (ValueError, RecursionError) as error:
        raise BadQuestion('the body is not JSON: send {"numbers": ["…"]} in UTF-8') from error
    if not isinstance(document, dict) or not document.keys() <= _MEMBERS or "numbers" not in document:
        raise BadQuestion('send an object with the member "numbers", and "scope" if one is asked for, and no other')
    numbers, scope = document["numbers"], document.get("scope")
    if not isinstance(numbers, list):
        raise BadQuestion('"numbers" must be a list of texts or integers')
    for place, number in enumerate(numbers):
        if not isinstance(number, str | int) or isinstance(number, bool):
            raise BadQuestion(f'item {place} of "numbers" must be a text or an integer')
    if scope is not None and not isinstance(scope, str):
        raise BadQuestion('"scope" must be a text')
    return numbers, scope


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadQuestion("a member of the body is there twice: send it once")
    return found


def _no_constant(name: str) -> None:
    raise BadQuestion("NaN and infinities are not JSON")


def joined(lines: Iterable[bytes]) -> bytes:
    """The answers to a list of questions as one document."""
    return b'{"verdicts": [' + b", ".join(lines) + b"]}\n"
