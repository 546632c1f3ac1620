"""A base made anew of a generation and its overlay, so that the overlay does not grow for ever.

A fold takes seconds, and the next release may be in force by then. It is put on the new base then: what differs between
two overlays of the same base is known without the base.
"""

from collections.abc import Callable
from pathlib import Path

from blocklist_sdk.recipient.cache.generation import (
    OVERLAY_SHARE_MAX,
    Generation,
    NextList,
    write_base_generation,
    write_generation,
)
from blocklist_sdk.release.digest_kinds import kind_of
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.release.stored import BaseWriter, overlay_rows_max
from blocklist_sdk.release.windows import windows


def write_folded(directory: Path, generation: Generation) -> Generation:
    """Write a release as a base of its own into an empty directory, durably, part by part; and open it.

    Raises:
        Malformed: the generation is damaged: its rows do not have the digest of the release.
    """
    layers = generation.layers

    def read(beside: Callable[[Rows], None]) -> None:
        with BaseWriter(directory, len(layers)) as writer:
            for part in windows(layers):
                writer.add(part)
            beside(writer.rows())
            writer.finish()

    folded = write_base_generation(
        directory, generation.about, read, signed=generation.all_signed(), folded_from=layers.facts.base_id
    )
    if not folded.is_piece_whole(0):
        raise generation.damaged()
    return folded


def write_on_folded(directory: Path, folded: Generation, was: LayeredRows, later: Generation) -> bool:
    """Write a release that came during a fold into an empty directory, durably, with the new base and a small overlay.

    Takes time by what changed since the fold began.

    Args:
        directory: the empty directory.
        folded: what `write_folded` wrote; its files are linked.
        was: the same list before, with the older base.
        later: the generation of that release.

    Returns:
        Whether it was written: not if it has another base than what was folded, or if so much has changed meanwhile
        that a base would have to be written.

    Raises:
        Malformed: the later generation is damaged: its overlay does not lead to the digest of its release.
    """
    since = None if later.is_of_earlier_format else later.layers.changed_since(was)
    if since is None or kind_of(later.about.digest) != "tree":
        return False
    layers, changes = folded.layers.applied(since.delta())
    # More than that would make `write_generation` write a base, while the lock is held.
    if len(layers.overlay) > overlay_rows_max(layers, share=OVERLAY_SHARE_MAX):
        return False
    tree = folded.tree.updated(layers, changes)
    if tree.digest != later.about.digest:
        raise later.damaged()
    write_generation(
        directory,
        NextList(layers, tree, changes, folded),
        later.about,
        signed=later.all_signed(),
        folded_from=folded.folded_from,
    )
    return True
