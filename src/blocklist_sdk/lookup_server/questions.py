"""Questions and their answers as bytes: pure, so that every door says the same."""

from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.recipient.verdict_documents import json_line, verdict_document
from blocklist_sdk.records import SCOPES, Level, Scope

NUMBERS_MAX: Final = 10_000
"""Most numbers in one request."""


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
