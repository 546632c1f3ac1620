"""Reading again what lies on the disk, so that damage is found before anybody asks for what it hit.

A look-up checks nothing, and a sync checks what it builds on. So all bytes of the list in force are read again once a
day and compared with what was written, in pieces: some by every sync, which must not wait for long, and those that are
due by then in the upkeep after it.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.pieces import AT_ONCE_BYTES
from blocklist_sdk.recipient.cache.state import Scrub

PASS_TIME: Final = timedelta(days=1)
"""In this time every byte of the list is read once."""

AT_ONCE_PIECES: Final = 2
"""So many pieces of a longer one are read by a sync at most, which takes as long."""

log: logging.Logger = logging.getLogger(__name__)


def pieces_at_once(scrub: Scrub, *, pieces: int, bytes: int, now: datetime) -> int:
    """How many pieces a sync reads on its way: all of a short list, else what is due, as far as it is quickly read.

    Args:
        scrub: how far the list was read.
        pieces: how many pieces it has.
        bytes: its size on disk.
        now: timezone-aware.

    >>> from blocklist_sdk.times import from_ms
    >>> scrub = Scrub(begun_at=from_ms(0))
    >>> [pieces_at_once(scrub, pieces=100, bytes=size, now=from_ms(86_400_000)) for size in (1 << 20, 400 << 20)]
    [100, 2]
    """
    if bytes <= AT_ONCE_BYTES:
        return pieces
    return min(pieces_due(scrub, pieces=pieces, now=now), AT_ONCE_PIECES)


def pieces_due(scrub: Scrub, *, pieces: int, now: datetime) -> int:
    """How many pieces must be read by now, so that the pass ends in time.

    >>> from blocklist_sdk.times import from_ms
    >>> pieces_due(Scrub(begun_at=from_ms(0), pieces=20), pieces=100, now=from_ms(43_200_000))
    30
    """
    # A moment in the future comes from a clock that has been set since.
    share = max(0.0, (now - scrub.begun_at) / PASS_TIME)
    return max(0, min(pieces, math.ceil(pieces * share)) - scrub.pieces)


def read_pieces(
    generation: Generation, scrub: Scrub, *, count: int, now: datetime, is_stopped: Callable[[], bool] = lambda: False
) -> Scrub:
    """Read the next pieces of a list, and return how far it is read then; it ends where a piece is damaged.

    Args:
        generation: the list.
        scrub: how far it was read.
        count: how many pieces to read.
        now: timezone-aware.
        is_stopped: whether to read no further; asked before each piece.
    """
    pieces = generation.pieces()
    if scrub.begun_at > now:
        scrub = replace(scrub, begun_at=now)
    if scrub.damaged not in (None, generation.name):
        scrub = replace(scrub, damaged=None)
    # A list that is read whole is read from its beginning.
    begin = 0 if count >= pieces or scrub.pieces >= pieces else scrub.pieces
    done = begin
    while done < min(begin + count, pieces) and not is_stopped():
        if not _is_piece_whole(generation, done):
            return replace(scrub, pieces=done, damaged=generation.name)
        done += 1
    if done < pieces:
        return replace(scrub, pieces=done)
    return Scrub(begun_at=now, whole_at=now, damaged=scrub.damaged)


def _is_piece_whole(generation: Generation, piece: int) -> bool:
    try:
        return generation.is_piece_whole(piece)
    except OSError as error:
        log.error("feed %s: %s cannot be read: %s", generation.about.feed, generation.directory, error.strerror)
        return False
