"""The protected numbers of a publisher's folder: planned changes, and signed ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from blocklist_sdk.errors import InvalidInput, Refused
from blocklist_sdk.publisher.arguments import check_list
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.keys import TARGETS
from blocklist_sdk.publisher.protection import (
    ProtectionChange,
    listed_among,
    plan_removal,
    protected_digest,
    protected_document,
)
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.results import ProtectionResult
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.names import PROTECTED_PATH
from blocklist_sdk.release.protected_texts import ProtectedText, numbers_of, read_lines
from blocklist_sdk.release.rows import Rows

Numbers = Path | BinaryIO | Iterable[str]
"""Numbers as `Publisher.protect` takes them."""


def set_protection(folder: PublisherFolder, numbers: Numbers, *, accept: bool, allow_empty: bool) -> ProtectionResult:
    """Protect these numbers and no others, as `Publisher.set_protection` does."""
    wanted = _whole(folder, numbers, allow_empty=allow_empty)
    with folder.locked() as repository:
        # Planned under the lock: two runs at once must not become a mixture of both lists.
        change = _difference(frozenset(folder.protected(repository).tolist()), wanted)
        return _applied(folder, repository, change, accept=accept or not wanted)


def plan_change(
    folder: PublisherFolder, *, add: Numbers, remove: Numbers, only: Numbers | None, allow_empty: bool = False
) -> ProtectionChange:
    """Plan a change as `Publisher.plan_protection` does."""
    current = frozenset(folder.protected(folder.load()).tolist())
    if only is not None:
        change = _difference(current, _whole(folder, only, allow_empty=allow_empty))
    else:
        added = _numbers(folder, _some_texts(add))
        texts = _some_texts(remove)
        removal = plan_removal(texts, _numbers_of(folder, texts), current)
        change = ProtectionChange(tuple(sorted(added - current)), tuple(sorted({*removal.remove} - added)))
    return replace(change, made_on=protected_digest(current))


def apply_change(folder: PublisherFolder, change: ProtectionChange, *, accept: bool) -> ProtectionResult:
    """Apply a change as `Publisher.change_protection` does."""
    with folder.locked() as repository:
        return _applied(folder, repository, change, accept=accept)


def preview_change(folder: PublisherFolder, change: ProtectionChange) -> ProtectionResult:
    """Find what applying a change would do; nothing is signed.

    Raises:
        InvalidInput, Malformed, Untrusted: as for `Publisher.preview_protection`.
    """
    return _result(folder, folder.load(), change)[0]


def _applied(
    folder: PublisherFolder, repository: Repository, change: ProtectionChange, *, accept: bool
) -> ProtectionResult:
    result, document = _result(folder, repository, change)
    if result.refusals and not accept:
        raise Refused(
            f"the protected numbers were not changed: {'; '.join(result.refusals)}. If all of this is right, repeat it "
            "with accept=True, or --accept.",
            reasons=result.refusals,
        )
    if result.added or result.removed:
        _sign(folder, repository, document)
    return replace(result, refusals=())


def _result(
    folder: PublisherFolder, repository: Repository, change: ProtectionChange
) -> tuple[ProtectionResult, bytes]:
    """What a change does, and the document to be signed."""
    current = folder.protected(repository).tolist()
    after, done = change.applied(current)
    document = protected_document(after)
    concerned = sorted({*done.add, *done.remove})
    listed: dict[str, tuple[int, ...]] = {}
    if concerned:
        listed = {
            feed: listed_among(_rows_of(folder, repository, feed, concerned), concerned) for feed in repository.feeds
        }
    result = ProtectionResult(
        protected=len(after),
        added=done.add,
        removed=done.remove,
        listed={feed: numbers for feed, numbers in listed.items() if numbers},
        refusals=change.refusals(current),
    )
    return result, document


def _rows_of(folder: PublisherFolder, repository: Repository, feed: str, numbers: Sequence[int]) -> Rows:
    """The rows of a feed's current release that may cover some numbers, which ascend."""
    signed_feed, wanted = SignedFeed.find(repository, feed, copies=folder.working_copies), np.array(numbers, np.int64)
    return signed_feed.verified(signed_feed.current(), wanted).layers.around(wanted, wanted)


def _difference(current: frozenset[int], wanted: frozenset[int]) -> ProtectionChange:
    return ProtectionChange(tuple(sorted(wanted - current)), tuple(sorted(current - wanted)))


def _sign(folder: PublisherFolder, repository: Repository, document: bytes) -> None:
    try:
        repository.require_keys(TARGETS)
    except InvalidInput as error:
        if not folder.keys.absent([TARGETS]):
            raise
        raise InvalidInput(
            f"{str(error).rstrip('.')}. If the targets key is elsewhere, write a proposal "
            "(`blocklist publish protect … --propose FILE`) and apply it where the targets and online keys are"
        ) from error
    repository.set_targets(TARGETS, files={PROTECTED_PATH: document})


def _whole(folder: PublisherFolder, numbers: Numbers, *, allow_empty: bool) -> frozenset[int]:
    """All numbers to protect.

    Raises:
        InvalidInput: there is none, and that is not allowed.
    """
    found = _numbers(folder, _texts(numbers))
    if not found and not allow_empty:
        raise InvalidInput(
            "there is no number in it, so nothing was changed. To protect no number at all, allow an empty list: "
            "--allow-empty (allow_empty=)"
        )
    return found


def _numbers(folder: PublisherFolder, texts: Iterable[ProtectedText]) -> frozenset[int]:
    return frozenset[int]().union(*_numbers_of(folder, texts))


def _numbers_of(folder: PublisherFolder, texts: Iterable[ProtectedText]) -> Iterator[frozenset[int]]:
    return numbers_of(texts, region=folder.region(None, None))


def _some_texts(numbers: Numbers) -> list[ProtectedText]:
    """What to protect or not; a file has to have some.

    Raises:
        InvalidInput: it has none.
    """
    texts = _texts(numbers)
    if not texts and _is_file(numbers):
        name = numbers if isinstance(numbers, Path) else "standard input"
        raise InvalidInput(f"there is no number in {name}, so nothing was changed")
    return texts


def _texts(numbers: Numbers) -> list[ProtectedText]:
    """What to protect, from a file or a list."""
    if _is_file(numbers):
        return read_lines(cast("Path | BinaryIO", numbers))
    return [ProtectedText(text) for text in check_list("numbers", cast("Iterable[str]", numbers))]


def _is_file(numbers: Numbers) -> bool:
    return isinstance(numbers, Path) or hasattr(numbers, "read")
