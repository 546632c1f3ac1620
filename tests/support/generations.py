"""Generations of generated rows, written without a repository, and chains of them as deltas make them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_generation
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.recipient.screening.columns import Screening
from blocklist_sdk.records import Scope
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.merge import delta_between, difference
from blocklist_sdk.release.rows import Rows
from support.strategies import Row, to_plain

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write(
    directory: Path, serial: int, listed: NextList, published_ms: int, before: Generation | None = None
) -> Generation:
    directory.mkdir()
    published = EPOCH + timedelta(milliseconds=published_ms)
    about = About("id-all", serial, listed.tree.digest, len(listed.layers), published)
    write_generation(directory, listed, about, before=before)
    return Generation.open(directory)


def first(directory: Path, rows: Rows, published_ms: int) -> Generation:
    return write(directory, 1, NextList.of(rows), published_ms)


def follow(directory: Path, before: Generation, rows: Rows, published_ms: int) -> Generation:
    """The next generation, as a sync of the delta makes it; it must be what its rows alone would lead to."""
    layers, changes = before.layers.applied(delta_between(before.rows, rows))
    listed = NextList(layers, before.tree.updated(layers, changes), changes)
    opened = write(directory, before.about.serial + 1, listed, published_ms, before)
    assert to_plain(opened.rows) == to_plain(rows)
    assert opened.about.digest == opened.tree.digest == digest(rows)
    assert opened.is_whole()
    found, expected = Changes(before, opened, no_rules)._found, difference(before.rows, rows)
    for name in ("added", "removed", "changed_old", "changed_new"):
        assert to_plain(getattr(found, name)) == to_plain(getattr(expected, name))
    return opened


def no_rules() -> Rules:
    return Rules(frozenset(), {})


def screening(opened: ReleaseAnswers, now_ms: int, scope: Scope | None = None) -> Screening:
    no_rules = Rules(frozenset(), {}).at(EPOCH)
    return Screening(
        opened, no_rules, region="ID", form="national", scope=scope, at=EPOCH + timedelta(milliseconds=now_ms)
    )


def edges_of(plain: list[Row]) -> list[int]:
    found = {edge + step for row in plain for edge in (row.number, row.last) for step in (-1, 0, 1)}
    return sorted(found | {100_000, 999_999_999_999_999})
