"""Which of a number's entries decides: the five places that have this rule give the same answer.

For speed the rule is written in `recipient/verdicts.py`, `cache/classify.py`, `cache/kinds.py`, `cache/covering.py`
and `screening/columns.py`. Here each of them is compared with a sixth that is slow and obvious, so a change of one that
the others lack fails here.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from blocklist_sdk import times
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_generation
from blocklist_sdk.recipient.cache.kinds import LEVELS, REASONS
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.recipient.screening.columns import Screening
from blocklist_sdk.recipient.verdicts import decide, deciding
from blocklist_sdk.records import SCOPES, Scope
from blocklist_sdk.release.merge import delta_between
from blocklist_sdk.release.rows import FOREVER_MS
from support.scale import scaled
from support.strategies import DAY_MS, Row, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOW = 6_281_200_000_000
PLACES, APART = scaled(150, long=400), 10
"""Places on the number line, and numbers from one to the next: each has entries of its own."""
NUMBERS = [LOW + APART * place + step for place in range(PLACES) for step in range(4)]
PUBLISHED_MS = 3 * DAY_MS
MOMENTS = [PUBLISHED_MS + half_days * DAY_MS // 2 for half_days in (-1, 0, 1, 3, 6)]
HERE_FROM = [PUBLISHED_MS + 10 * DAY_MS, PUBLISHED_MS - DAY_MS // 2, PUBLISHED_MS - 2 * DAY_MS]
"""What the clock says while the list is put in force: after its publication, as it should be, or before."""

Answer = tuple[str | None, str | None, str]
"""Level and category of the entry that decides, and the reason."""


def random_list(random: np.random.Generator) -> list[Row]:
    """Up to four entries at each place, for one number, for its neighbour or for both."""
    rows = []
    for place in np.repeat(np.arange(PLACES), random.integers(0, 5, PLACES)).tolist():
        number, since = LOW + APART * place + int(random.integers(0, 2)), int(random.integers(0, 10)) * DAY_MS // 2
        rows.append(
            Row(
                number=number,
                last=number + int(random.choice([0, 0, 0, 1])),
                entry=0,
                level=str(random.choice(["block", "advisory", "of-a-later-protocol"])),
                category=str(random.choice(["fraud", "phishing", "spam"])),
                issuer="komdigi",
                scope=str(random.choice(["sms", "sms+voice", "messaging"])),
                since=since,
                until=int(random.choice([FOREVER_MS, *(since + thirds * DAY_MS // 3 for thirds in (2, 7, 12, 20))])),
            )
        )
    entries = random.permutation(len(rows)) + 1
    numbered = [Row(**{**vars(row), "entry": entry}) for row, entry in zip(rows, entries.tolist(), strict=True)]
    return sorted(numbered, key=lambda row: (row.number, row.last, row.entry))


def obvious(covering: list[Row], now_ms: int, scope: str | None) -> Answer:
    """An entry in force that blocks goes before all others; then the oldest; then the lowest id.

    What begins no later than the publication has begun, also on a machine whose clock is behind it.
    """
    rows = [row for row in covering if scope is None or scope in row.scope.split("+")]
    in_force = [row for row in rows if row.since <= max(now_ms, PUBLISHED_MS) and now_ms < row.until]
    for reason, level in (("listed", "block"), ("advisory", "advisory")):
        found = [row for row in in_force if level == "advisory" or row.level == level]
        if found:
            return level, min(found, key=lambda row: (row.since, row.entry)).category, reason
    if any(row.until <= now_ms for row in rows):
        return None, None, "expired"
    return None, None, "not-yet" if rows else "not-listed"


def by_verdict(opened: Generation, number: int, now_ms: int, scope: Scope | None) -> Answer:
    at = EPOCH + timedelta(milliseconds=now_ms)
    entries = [entry for entry in opened.covering(number) if scope is None or scope in entry.scope]
    published = opened.about.published_at
    (level, reason), entry = decide(entries, at, published=published), deciding(entries, at, published=published)
    return level, None if entry is None else entry.category, reason


def by_kind(opened: Generation, now_ms: int, scope: Scope | None) -> list[Answer | None]:
    """What `kinds` reads from the kinds that `classify` gave; None for numbers that it leaves to the rows."""
    categories = opened.categories
    said = opened.answers.kind_verdicts(now_ms, scope, categories)
    answers: list[Answer | None] = []
    for kind in opened.answers.kinds_of(np.array(NUMBERS)).tolist():
        level, category, reason = said.level[kind], said.category[kind], REASONS[said.reason[kind]]
        answer = (LEVELS[level] if level >= 0 else None, categories[category] if category >= 0 else None, reason)
        answers.append(None if said.is_undecided[kind] else answer)
    return answers


def by_column(opened: Generation, now_ms: int, scope: Scope | None) -> list[Answer]:
    """What screening says, which looks up numbers with one row and numbers with several in two ways of its own."""
    at = EPOCH + timedelta(milliseconds=now_ms)
    screening = Screening(opened, Rules(frozenset(), {}).at(at), region=None, form="auto", scope=scope, at=at)
    rows = screening.table(pa.array([f"+{number}" for number in NUMBERS])).to_pylist()
    return [(row["level"], row["category"], row["reason"]) for row in rows]


def written(directory: Path, lists: list[list[Row]]) -> Generation:
    """A generation of the last list, to which deltas have led from the first."""
    opened: Generation | None = None
    for serial, plain in enumerate(lists, 1):
        rows = to_rows(plain)
        listed = NextList.of(rows)
        if opened is not None:
            layers, changes = opened.layers.applied(delta_between(opened.rows, rows))
            listed = NextList(layers, opened.tree.updated(layers, changes), changes)
        about = About("id-all", serial, "0" * 64, len(rows), EPOCH + timedelta(milliseconds=PUBLISHED_MS))
        (directory / str(serial)).mkdir()
        write_generation(directory / str(serial), listed, about, before=opened)
        opened = Generation.open(directory / str(serial))
    assert opened is not None
    assert len(opened.layers.overlay) > 0 or len(lists) == 1
    return opened


def earlier_lists(plain: list[Row], random: np.random.Generator) -> list[list[Row]]:
    """Two lists before: of some of the entries, some with other texts and times, and of some that are gone later."""
    entries = {row.entry: row for row in random_list(random)}
    last = max(row.entry for row in plain)
    lists = []
    for share in (0.5, 0.8):
        found = []
        for row in plain:
            other = entries.get(row.entry)
            draw = random.random()
            if draw < share / 2 and other is not None:
                found.append(Row(**{**vars(other), "number": row.number, "last": row.last, "entry": row.entry}))
            elif draw < share:
                found.append(row)
        gone = [Row(**{**vars(row), "entry": row.entry + last}) for row in entries.values() if random.random() < 0.3]
        lists.append(sorted([*found, *gone], key=lambda row: (row.number, row.last, row.entry)))
    return lists


@pytest.mark.parametrize("layers", ["a base", "a base and an overlay"])
@pytest.mark.parametrize("seed", range(scaled(4, long=100)))
def test_five_places_agree_on_the_entry_that_decides(
    tmp_path: Path, seed: int, layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here_from = EPOCH + timedelta(milliseconds=HERE_FROM[seed % len(HERE_FROM)])
    monkeypatch.setattr(times, "now", lambda: here_from)
    random = np.random.default_rng(seed)
    plain = random_list(random)
    before = earlier_lists(plain, random) if layers == "a base and an overlay" else []
    opened = written(tmp_path, [*before, plain])
    covering = [[row for row in plain if row.number <= number <= row.last] for number in NUMBERS]
    by_kinds = 0
    for now_ms in MOMENTS:
        for scope in (None, *SCOPES):
            expected = [obvious(found, now_ms, scope) for found in covering]
            assert by_column(opened, now_ms, scope) == expected
            assert [by_verdict(opened, number, now_ms, scope) for number in NUMBERS] == expected
            for answer, kind in zip(expected, by_kind(opened, now_ms, scope), strict=True):
                assert kind in (answer, None)
                by_kinds += kind is not None and answer[2] != "not-listed"
            if now_ms >= opened.answers.from_ms:
                level_of = opened.answers.level_finder(now_ms // DAY_MS, scope)
                for number, answer in zip(NUMBERS, expected, strict=True):
                    assert level_of(number) in (answer[0] or "", None)
            if scope is None:
                blocks = [opened.blocks(number, now_ms) for number in NUMBERS]
                assert blocks == [level == "block" for level, _, _ in expected]
    assert by_kinds > scaled(400, long=1000), "kinds answered next to nothing, so they were hardly compared"
