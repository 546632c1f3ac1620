"""The protected numbers of a publisher's folder: planned changes, and signed ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.arguments import check_list
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.keys import TARGETS
from blocklist_sdk.publisher.protection import ProtectionChange, listed_among, plan_removal, protected_document
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.results import ProtectionResult
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.names import PROTECTED_PATH
from blocklist_sdk.release.protected_texts import ProtectedText, numbers_of, read_lines

Numbers = Path | BinaryIO | Iterable[str]
"""Numbers as `Publisher.protect` takes them."""


def set_protection(folder: PublisherFolder, numbers: Numbers) -> int:
    """Protect these numbers and no others, as `Publisher.protect` does; returns how many they are."""
    found = _all_of(folder, numbers)
    with folder.locked() as repository:
        _sign(folder, repository, found)
    return len(found)


def plan_change(folder: PublisherFolder, *, add: Numbers, remove: Numbers, only: Numbers | None) -> ProtectionChange:
    """Plan a change as `Publisher.plan_protection` does."""
    current = frozenset(folder.protected(folder.load()).tolist())
    if only is not None:
        wanted = _all_of(folder, only)
        return ProtectionChange(tuple(sorted(wanted - current)), tuple(sorted(current - wanted)))
    added = _all_of(folder, add)
    texts = _texts(remove)
    removal = plan_removal(texts, _numbers_of(folder, texts), current)
    return ProtectionChange(tuple(sorted(added - current)), tuple(sorted({*removal.remove} - added)))


def apply_change(folder: PublisherFolder, change: ProtectionChange) -> ProtectionResult:
    """Apply a change as `Publisher.change_protection` does."""
    with folder.locked() as repository:
        after, done = change.applied(folder.protected(repository).tolist())
        listed: dict[str, tuple[int, ...]] = {}
        if done:
            concerned = sorted({*done.add, *done.remove})
            for feed in repository.feeds:
                listed[feed] = listed_among(SignedFeed.find(repository, feed).rows(), concerned)
            _sign(folder, repository, after)
    return ProtectionResult(
        protected=len(after),
        added=done.add,
        removed=done.remove,
        listed={feed: numbers for feed, numbers in listed.items() if numbers},
    )


def _sign(folder: PublisherFolder, repository: Repository, numbers: frozenset[int]) -> None:
    document = protected_document(numbers)
    try:
        repository.require_keys(TARGETS)
    except InvalidInput as error:
        if not folder.keys.absent([TARGETS]):
            raise
        raise InvalidInput(
            f"{error}. If the targets key is elsewhere, write a proposal (`blocklist publish protect … --propose "
            "FILE`) and apply it where the targets and online keys are"
        ) from error
    repository.set_targets(TARGETS, files={PROTECTED_PATH: document})


def _all_of(folder: PublisherFolder, numbers: Numbers) -> frozenset[int]:
    return frozenset[int]().union(*_numbers_of(folder, _texts(numbers)))


def _numbers_of(folder: PublisherFolder, texts: Iterable[ProtectedText]) -> Iterator[frozenset[int]]:
    return numbers_of(texts, region=folder.region(None, None))


def _texts(numbers: Numbers) -> list[ProtectedText]:
    """What to protect, from a file or a list."""
    if isinstance(numbers, Path) or hasattr(numbers, "read"):
        return read_lines(cast("Path | BinaryIO", numbers))
    return [ProtectedText(text) for text in check_list("numbers", numbers)]
