"""Making a bundle of the list in force: what `Blocklist.bundle` does."""

import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import read_unlinked, replaced, storage, sync_directory
from blocklist_sdk.errors import InvalidInput, Untrusted
from blocklist_sdk.places import absolute
from blocklist_sdk.recipient.bundle import contents
from blocklist_sdk.recipient.bundle.container import ArchiveWriter, Member
from blocklist_sdk.recipient.bundle.evidence import Documents, chain_of_roots, read_evidence
from blocklist_sdk.recipient.bundle.own_decisions import OwnDecisions
from blocklist_sdk.recipient.bundle.reading import open_file, prove
from blocklist_sdk.recipient.cache.cells import cells_of, fill_and_draw
from blocklist_sdk.recipient.cache.classify import classify
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.internals import Internals
from blocklist_sdk.records import BundleResult
from blocklist_sdk.release.protected import write_protected
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Int64s, Rows
from blocklist_sdk.release.windows import windows

_LOOKS: Final = 5
_BETWEEN_LOOKS_S: Final = 0.1
"""A sync that runs meanwhile replaces the signed metadata one file after the other, in a few milliseconds."""


def write_bundle(internals: Internals, path: Path, *, overrides: bool) -> BundleResult:
    """Write the list in force as a bundle; see `Blocklist.bundle`."""
    generation, documents = _in_force(internals)
    if not generation.is_whole():
        internals.note_damage(generation)
        raise generation.damaged()
    rules = internals.current.rules()
    mine = OwnDecisions(tuple(rules.decisions()), rules.own_protected)
    own = mine if overrides else None
    access = internals.store.state_access if overrides else internals.store.access
    with replaced(path, access) as temporary, storage(path):
        with ArchiveWriter(temporary) as archive:
            _write(archive, generation, documents, own)
        # As whoever opens it will, so that nothing else ever gets the name.
        proved = prove(open_file(temporary), pinned=internals.root)
    with storage(path):
        sync_directory(absolute(path).parent)
    about = proved.release.about
    only_mine = len(mine.protected.difference(proved.evidence.protected.tolist()))
    return BundleResult(
        path=str(path),
        feed=about.feed,
        serial=about.serial,
        era=about.era,
        rows=about.rows,
        digest=about.digest,
        as_of=about.published_at,
        expires=proved.evidence.expires,
        stale=times.now() >= proved.evidence.expires,
        protected=len(proved.evidence.protected),
        overrides=None if own is None else len(own.overrides),
        own_protected=None if own is None else only_mine,
        overrides_left_out=len(mine.overrides) if own is None else 0,
        own_protected_left_out=only_mine if own is None else 0,
        bytes=proved.release.bytes,
    )


def _in_force(internals: Internals) -> tuple[Generation, Documents]:
    """The list in force, and what proves it.

    Raises:
        NotSynced, Stale: as for `Blocklist.check`.
        InvalidInput: what proves it is not on this disk.
    """
    why: Untrusted | None = None
    for _ in range(_LOOKS):
        generation = internals.in_force()[0]
        for documents in _candidates(internals, generation):
            try:
                found = read_evidence(documents, pinned=internals.root, feed=internals.feed).about
            except Untrusted as error:
                why = error
            else:
                if (found.release, found.digest, found.rows) == (
                    generation.about.release,
                    generation.about.digest,
                    generation.about.rows,
                ):
                    return generation, documents
        time.sleep(_BETWEEN_LOOKS_S)
    raise InvalidInput(
        f"release {generation.about.release} of feed {internals.feed!r} cannot be bundled: the signed metadata on this "
        f"disk does not prove it ({why or 'it is of a newer release, which is not in force'}). Sync it; if a release "
        "is refused, let it in or wait for the next one"
    ) from why


def _candidates(internals: Internals, generation: Generation) -> Iterator[Documents]:
    """What may prove a generation: the newest metadata, and what was kept when it came into force."""
    store, feed = internals.store, internals.feed
    kept = generation.all_signed()
    protected = store.protected_document() or write_protected(())
    roots = chain_of_roots([*store.known_roots(), internals.root, *filter(None, [kept.get("root.json")])])
    index = kept.get("index.json")
    newest = [read_unlinked(store.metadata / f"{role}.json") for role in ("timestamp", "snapshot", "targets", feed)]
    then = [kept.get(f"{role}.json") for role in ("timestamp", "snapshot", "targets", "feed")]
    for timestamp, snapshot, targets, role in (newest, then):
        if index is not None and timestamp and snapshot and targets and role:
            yield Documents(roots, timestamp, snapshot, targets, role, protected, index)


def _write(archive: ArchiveWriter, generation: Generation, documents: Documents, own: OwnDecisions | None) -> None:
    feed = generation.about.feed
    archive.add(contents.ABOUT, contents.about_document(feed))
    for name, data in documents.named(feed).items():
        archive.add(name, data)
    if own is not None:
        archive.add(contents.OWN, own.document())
    write_list(archive, generation)
    archive.finish()


def write_list(archive: ArchiveWriter, generation: ReleaseAnswers) -> None:
    """Write the members that are about the rows of a release.

    Raises:
        OSError: the disk refused.
    """
    rows = _write_rows(archive, generation)
    _write_answers(archive, rows, times.to_ms(generation.about.published_at))


def _write_rows(archive: ArchiveWriter, generation: ReleaseAnswers) -> Rows:
    """Write the rows of a list, its overlay folded in, part by part; returns them, mapped."""
    layers, count = generation.layers, len(generation.layers)
    values = {
        name: tuple(sorted((text for text, rows in generation.texts[name].items() if rows), key=str.encode))
        for name in TEXT_COLUMNS
    }
    texts = contents.TextValues(values)
    members = {contents.TEXTS: archive.add(contents.TEXTS, texts.document())}
    for name in contents.row_members(has_ranges=bool(len(layers.ranges()))):
        column = name.removeprefix("rows/")
        size = 8 if column in NUMERIC_COLUMNS else np.dtype(texts.type_of(column)).itemsize
        members[name] = archive.begin(name, count * size)
    place = {name: {text: code for code, text in enumerate(values[name])} for name in TEXT_COLUMNS}
    start = 0
    for part in windows(layers):
        for name, member in members.items():
            column = name.removeprefix("rows/")
            if column in NUMERIC_COLUMNS:
                written: Any = np.ascontiguousarray(getattr(part, column), "<i8")
            elif column in TEXT_COLUMNS:
                its, kind = getattr(part, column), np.dtype(texts.type_of(column)).newbyteorder("<")
                code_of = np.array([place[column][text] for text in its.values], kind)
                written = code_of[its.codes] if len(part) else np.empty(0, kind)
            else:
                continue
            archive.write(written.data.cast("B"), member.offset + start * written.itemsize)
        start += len(part)
    return contents.rows_of(_mapped(archive.descriptor), members, count)[0]


def _write_answers(archive: ArchiveWriter, rows: Rows, published_ms: int) -> None:
    """Write the table of numbers; nothing if no draw makes a quick one."""
    found = classify(rows, published_ms, published_ms)
    homes = fill_and_draw(lambda homes: _InArchive.begun(archive, cells_of(homes)), found.numbers, found.kinds)
    if homes is not None:
        archive.add(contents.HOMES, contents.homes_document(homes))
    else:
        archive.take_back(contents.CELLS)


@dataclass(frozen=True, slots=True)
class _InArchive:
    """A table that is made where it belongs in the archive."""

    archive: ArchiveWriter
    member: Member

    @classmethod
    def begun(cls, archive: ArchiveWriter, count: int) -> "_InArchive":
        archive.take_back(contents.CELLS)
        return cls(archive, archive.begin(contents.CELLS, 8 * count))

    def write(self, at: int, cells: Int64s) -> None:
        self.archive.write(np.ascontiguousarray(cells, "<i8").data.cast("B"), self.member.offset + 8 * at)

    def all(self) -> Int64s:
        data = _mapped(self.archive.descriptor)
        return contents.column(data, self.member, np.int64, self.member.length // 8)


def _mapped(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size, access=mmap.ACCESS_READ))
