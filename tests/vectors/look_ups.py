"""Questions about the sample, and what its releases say."""

from typing import Any, Final


def _answer(number: int, reason: str, scope: str | None = None, **others: Any) -> dict[str, Any]:
    return {"number": number, "scope": scope, "blocked": reason == "listed", "reason": reason, **others}


_ALWAYS: Final = [
    _answer(6281200000001, "listed"),
    _answer(6281200000001, "listed", "voice"),
    _answer(6281200000001, "not-listed", "messaging"),
    _answer(6281200000002, "advisory"),
    _answer(6281200000002, "advisory", "messaging"),
    _answer(6281200000002, "not-listed", "sms"),
    _answer(6281200000003, "listed"),
    _answer(6281200000005, "not-yet"),
    _answer(6281200000007, "listed"),
    _answer(6281200000008, "advisory"),
    _answer(6281200000009, "listed", "voice"),
    _answer(6281200000009, "not-listed", "sms"),
    _answer(6281200000010, "listed"),
    _answer(6281200000013, "protected"),
    _answer(6281200000013, "protected", "voice"),
    _answer(6281200000019, "listed"),
    _answer(6281200000020, "not-listed"),
    _answer(6281200000099, "not-listed"),
    _answer(6281200000101, "listed", "voice"),
    _answer(6281200000101, "not-listed", "messaging"),
    _answer(6281200000150, "listed"),
    _answer(6281200000150, "advisory", "messaging"),
    _answer(6281200000199, "listed", "voice"),
    _answer(6281200000200, "advisory"),
    _answer(6281200000249, "advisory"),
    _answer(6281200000250, "not-listed"),
    _answer(6281200000400, "expired"),
    _answer(6281200000401, "listed"),
    _answer(6281200000402, "expired"),
    _answer(999999999999999, "listed", "data"),
]
"""What every release says at the moment at which the vectors are read."""

LOOK_UPS: Final[dict[Any, list[dict[str, Any]]]] = {
    0: [
        *_ALWAYS,
        _answer(6281200000004, "expired"),
        _answer(6281200000006, "listed"),
        _answer(6281200000006, "advisory", "messaging"),
        _answer(6281200000021, "not-listed"),
        _answer(6281200000100, "advisory", "messaging"),
        _answer(6281200000300, "not-listed"),
    ],
    1: [
        *_ALWAYS,
        _answer(6281200000004, "listed"),
        _answer(6281200000006, "advisory"),
        _answer(6281200000021, "listed"),
        _answer(6281200000100, "not-listed", "messaging"),
        _answer(6281200000309, "listed"),
        _answer(6281200000500, "listed"),
    ],
    2: [
        *_ALWAYS,
        _answer(6281200000004, "listed"),
        _answer(6281200000006, "advisory"),
        _answer(6281200000021, "not-listed"),
        _answer(6281200000025, "listed"),
        _answer(6281200000304, "listed"),
        _answer(6281200000305, "not-listed"),
    ],
    "moments": [
        _answer(6281200000004, "listed", now="2026-07-31T23:59:59Z"),
        _answer(6281200000004, "expired", now="2026-08-01T00:00:00Z"),
        _answer(6281200000005, "not-yet", now="2026-08-31T23:59:59Z"),
        _answer(6281200000005, "listed", now="2026-09-01T00:00:00Z"),
        _answer(6281200000402, "listed", now="2026-09-01T00:00:00Z"),
        _answer(6281200000003, "listed", now="2027-06-01T00:00:00Z"),
        # What begins no later than its release was published has begun, also by a clock that is behind.
        _answer(6281200000500, "listed", now="2026-02-03T00:00:00Z"),
        _answer(6281200000401, "not-yet", now="2026-06-15T11:59:59Z"),
    ],
}
"""Answers by the position of the release, and of the third release at other moments."""


def _asked(text: str, says: str, scope: str | None = None, *, region: str | None = "ID", form: str = "national") -> Any:
    question = {"text": text, "region": region, "form": form, "scope": scope}
    is_reason = says in ("listed", "advisory", "expired", "not-yet", "not-listed", "protected")
    return question | ({"blocked": says == "listed", "reason": says} if is_reason else {"invalid": says})


TEXTS: Final = [
    _asked("0812-0000-0001", "listed"),
    _asked("+62 812 0000 0001", "listed", "voice", region=None),
    _asked("6281200000001", "not-listed", "messaging"),
    _asked("0062 812 0000 0002", "advisory"),
    _asked("81200000003", "listed"),
    _asked("6281200000005", "not-yet", region=None, form="international"),
    _asked("(0812) 0000.0013", "protected"),
    _asked("0812 0000 0101", "listed", "voice"),
    _asked("tel:+62-812-0000-0400;ext=7", "expired"),
    _asked("+62 812 0000 0099", "not-listed", region="GB"),
    _asked("0812-0000-000O", "letters"),
    _asked("0812-0000-0001", "no region", region=None),
    _asked("112", "too short"),
]
"""Questions as people write them, and what the third release says at the moment at which the vectors are read."""

LATER: Final = "2026-09-01T00:00:00Z"
TEXTS_LATER: Final = [_asked("0812-0000-0004", "expired"), _asked("0812-0000-0005", "listed")]
"""The same at `LATER`."""
