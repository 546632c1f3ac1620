"""Writes the numbers that block now into a file for a phone, a gateway or another program, in bounded memory."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, get_args

from blocklist_sdk import times
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.modes import Access, access
from blocklist_sdk.places import check_name
from blocklist_sdk.recipient.arguments import check_scope
from blocklist_sdk.recipient.exports import call_directory, phone_book, plain_lines, prefixes, warning_list
from blocklist_sdk.recipient.exports.blocked import Blocked, BlockedCounts
from blocklist_sdk.recipient.exports.remarks import remarks_on
from blocklist_sdk.recipient.exports.result import ExportFormat, ExportResult
from blocklist_sdk.recipient.exports.texts import Part
from blocklist_sdk.records import Scope
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.release.spans import Spans

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

MAX_EXPANDED: Final = 1_000_000
"""Numbers of ranges that are written one by one unless the caller allows more: 14 MB of lines. Our guards refuse a
single entry of more numbers."""


def export_file(
    blocklist: "Blocklist",
    output: Path | BinaryIO,
    *,
    output_format: ExportFormat,
    scope: Scope | None = None,
    max_expanded: int = MAX_EXPANDED,
    group: str | int | None = None,
    file_mode: str | int | None = None,
) -> ExportResult:
    """Write the numbers that block now: those for which `Blocklist.check` with the same scope says so.

    Your overrides and protected numbers count as they do there. A file appears under its name only when it is complete.

    Args:
        blocklist: the list, synced or opened from a bundle.
        output: the file, or an open binary file such as standard output.
        output_format: ``txt``, one number a line, E.164 with a plus; ``prefixes``, the fewest prefixes as CSV, each
            with the number of digits of the numbers that it stands for; ``ios``, 64-bit integers, lowest byte first,
            as a call directory takes them; ``fritzbox``, a phone book; ``misp``, a warning list. All are ascending, and
            have each number once.
        scope: count the entries of this scope only.
        max_expanded: how many numbers of ranges may be written one by one. ``prefixes`` writes ranges as they are.
        group: the group whose members may read the file, by name or number, as for `Blocklist.open`.
        file_mode: the mode of the file, such as ``"0644"``; by default ``"0640"``.

    Raises:
        InvalidInput: the format or the scope is unknown, ranges have more numbers than `max_expanded`, or the file, the
            group or the mode cannot be used.
        NotSynced, Stale: as for `Blocklist.check`.
        StorageFailed: the file cannot be written.
    """
    from blocklist_sdk.recipient.blocklist import asked_internals_of

    started = time.monotonic()
    if output_format not in get_args(ExportFormat):
        raise InvalidInput(f"the format must be {', '.join(get_args(ExportFormat))}, not {output_format!r}")
    if type(max_expanded) is not int or max_expanded < 0:
        raise InvalidInput(f"max_expanded must be a whole number from 0 on, not {max_expanded!r}")
    check_scope(scope)
    if isinstance(output, Path):
        check_name(output)
    to_be_read = access(group, file_mode).to_be_read()
    asked = asked_internals_of(blocklist)
    found = asked.dated()
    asked.current.warn_of_rare_scope(scope)
    about = found.release.about
    blocked = Blocked(found.release.layers, found.rules, found.at, about.published_at, scope)
    counts = blocked.counts()
    if output_format != "prefixes":
        _check_expanded(counts, output_format, max_expanded)
    result = ExportResult(
        feed=about.feed,
        serial=about.serial,
        era=about.era,
        as_of=about.published_at,
        expires=found.expires,
        stale=found.stale,
        clock_behind_s=found.clock_behind_s,
        output_format=output_format,
        scope=scope,
        at=blocked.at,
        numbers=counts.numbers,
        lines=0,
        ranges=counts.ranges,
        range_numbers=counts.range_numbers,
        ending=counts.ending,
        changes_at=None if counts.changes_ms == FOREVER_MS else times.from_ms(counts.changes_ms),
        some_scopes=counts.some_scopes,
        other_scopes=counts.other_scopes,
        advisories=counts.advisories,
        not_begun=counts.not_begun,
        ended=counts.ended,
        allowed=counts.allowed,
        own_blocks=counts.own_blocks,
        remarks=(),
        seconds=0.0,
    )
    lines = 0
    with _target(output, to_be_read) as file:
        for part in _parts(blocked.spans(), result):
            file.write(part.data)
            lines += part.lines
    result = replace(result, lines=lines, seconds=time.monotonic() - started)
    return replace(result, remarks=remarks_on(result))


def _check_expanded(counts: BlockedCounts, output_format: ExportFormat, max_expanded: int) -> None:
    if counts.range_numbers > max_expanded:
        raise InvalidInput(
            f"ranges block {counts.range_numbers:,} numbers, and a file of the format {output_format} has each number "
            f"by itself; up to {max_expanded:,} are written. Allow so many with --max-expanded {counts.range_numbers} "
            "(max_expanded=), or take the format prefixes, which has ranges as they are. Nothing was written."
        )


@contextmanager
def _target(output: Path | BinaryIO, to_be_read: Access) -> Iterator[BinaryIO]:
    """The open file to write, which takes its place when it is complete."""
    if not isinstance(output, Path):
        yield output
        return
    with replaced(output, to_be_read) as temporary, temporary.open("wb") as file:
        yield file


def _parts(spans: Iterable[Spans], result: ExportResult) -> Iterator[Part]:
    """The file, part by part."""
    match result.output_format:
        case "txt":
            return plain_lines.lines(spans)
        case "prefixes":
            return prefixes.table(spans)
        case "ios":
            return call_directory.integers(spans)
        case "fritzbox":
            return phone_book.document(spans, name=result.feed)
        case "misp":
            return warning_list.document(
                spans,
                name=_list_name(result),
                description=f"What blocks at {times.iso(result.at.replace(microsecond=0))} by release "
                f"{result.serial} of the feed {result.feed}, and by the overrides of whoever wrote this file",
                version=warning_list.version_at(result.at),
            )


def _list_name(result: ExportResult) -> str:
    """The same for every export of a feed and a scope, so that MISP replaces the list."""
    return f"Telephone numbers blocked by {result.feed}{f' for {result.scope}' if result.scope else ''}"
