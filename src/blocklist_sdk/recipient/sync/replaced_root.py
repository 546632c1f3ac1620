"""Another root in the place of the pinned one: what was remembered of the repository under the old one is given up.

That is for a publisher who could not replace the keys one after the other, so that no chain of roots leads from the old
root to the new one. What is in force goes on answering until the next sync, and the guard compares the new list with
it.
"""

import logging
import shutil

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput, Untrusted
from blocklist_sdk.fetch.trust import check_root
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.sync.run import Syncer, mark_of
from blocklist_sdk.records import RootReplacement
from blocklist_sdk.release.fingerprint import fingerprint as digits_of
from blocklist_sdk.release.roots import root_version

log: logging.Logger = logging.getLogger(__name__)

_SEPARATORS = str.maketrans("", "", " :-\t\r\n")
"""How people write a fingerprint in groups."""


def fingerprint_digits(text: str) -> str:
    """The 64 digits of a fingerprint as people write it.

    Raises:
        InvalidInput: it is not a fingerprint.
    """
    digits = text.translate(_SEPARATORS).lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise InvalidInput(
            "a fingerprint has 64 hexadecimal digits, of which none may be left out: get it from the publisher, by "
            "another way than the file"
        )
    return digits


def check_fingerprint(root: bytes, fingerprint: str) -> str:
    """Make sure that a root is the one whose fingerprint a person was told; returns its 64 digits.

    Raises:
        InvalidInput: the fingerprint is not one, or `root` is not root metadata.
        Untrusted: it is another root's.
    """
    given = fingerprint_digits(fingerprint)
    check_root(root)
    digits = digits_of(root)
    if given != digits:
        raise Untrusted(
            f"the root, version {root_version(root)}, has the fingerprint {digits}, which is not the one that was "
            "given: it is another root, or was changed on its way. Nothing was changed here. Ask the publisher."
        )
    return digits


def replace_root(syncer: Syncer, fingerprint: str, *, wait_s: float, dry_run: bool) -> RootReplacement:
    """Give up what was remembered of the repository. Arguments and errors are those of `Blocklist.replace_root`."""
    digits = check_fingerprint(syncer.root, fingerprint)
    with syncer.store.lock(wait_s):
        state = load_state(syncer.state_file)
        opened = syncer.store.open()
        about = opened[0].about if opened else None
        mark = mark_of(state, about)
        if not dry_run:
            # The state first: without it, metadata that is gone would let an old repository in.
            former = None if opened is None else opened[0].name
            save_state(
                syncer.state_file,
                SyncState(
                    last_attempt=state.last_attempt,
                    last_success=state.last_success,
                    last_error=state.last_error,
                    former_generation=former,
                    awaited_root=digits,
                    former_roots=tuple(
                        sorted({*state.former_roots, *map(digits_of, syncer.store.known_roots())} - {digits})
                    ),
                ),
                syncer.store.state_access,
            )
            with storage(syncer.store.metadata):
                if syncer.store.metadata.exists():
                    shutil.rmtree(syncer.store.metadata)
            log.warning(
                "feed %s: another root is pinned from now on, version %d, with the fingerprint %s",
                syncer.feed,
                root_version(syncer.root),
                digits,
            )
    return RootReplacement(
        feed=syncer.feed,
        fingerprint=digits,
        serial=None if about is None else about.serial,
        era=None if about is None else about.era,
        highest_serial=mark and mark.serial,
        highest_era=mark and mark.era,
        refused=state.refused.serial if state.refused else None,
        dry_run=dry_run,
        root_version=root_version(syncer.root),
        remaining=_remaining(syncer, digits),
    )


def _remaining(syncer: Syncer, digits: str) -> tuple[str, ...]:
    """The other feeds in the same directories whose root is another one still, sorted."""
    found: list[str] = []
    for path in sorted(syncer.state_file.parent.parent.glob(f"*/{syncer.state_file.name}")):
        feed = path.parent.name
        if feed == syncer.feed:
            continue
        state = load_state(path)
        was_synced = state.last_success is not None or state.highest_serial > 0
        known = Store(syncer.store.directory.parent / feed).known_roots()
        if was_synced and state.awaited_root != digits and digits not in map(digits_of, known):
            found.append(feed)
    return tuple(found)
