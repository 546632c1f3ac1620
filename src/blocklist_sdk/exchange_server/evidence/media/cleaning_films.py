"""Copies of MP4, M4A and 3GP without positions, names and comments, of the same length.

Boxes that describe the film (ISO/IEC 14496-12, 8.10 and 8.11; 3GPP TS 26.244, 8) become free space of zeros. Nothing
moves, so that every offset in the film stays right.
"""

from collections.abc import Iterator
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.boxes import boxes, handlers_of
from blocklist_sdk.exchange_server.evidence.media.parts import Part, check

_DESCRIBING: Final = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip", b"wide", b"emsg", b"prft", b"iods"})
_AROUND: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts", b"mvex"})
_PLAYED: Final = frozenset({b"vide", b"soun"})
_DEPTH_MAX: Final = 6


def cleaned_film(data: Content) -> bytes:
    """A film or recording whose describing boxes are empty.

    Raises:
        Unfit: it has a track of data, which may be a track of positions.
    """
    outer = list(boxes(data, Part(b"", 0, len(data))))
    film = next((box for box in outer if box.kind == b"moov"), None)
    check(film is not None, "it has no index of its content")
    assert film is not None
    if not _PLAYED.issuperset(handlers_of(data, film)):
        raise Unfit("it has a track that is neither pictures nor sound and may hold positions")
    copy = bytearray(data[:])
    for box in _describing(data, Part(b"", 0, len(data)), 0):
        kind_at = box.start - 4 if box.start >= 8 and data[box.start - 4 : box.start] == box.kind else box.start - 12
        copy[kind_at : kind_at + 4] = b"free"
        copy[box.start : box.end] = bytes(box.end - box.start)
    return bytes(copy)


def _describing(data: Content, around: Part, depth: int) -> Iterator[Part]:
    for box in boxes(data, around):
        if box.kind in _DESCRIBING:
            yield box
        elif box.kind in _AROUND and depth < _DEPTH_MAX:
            yield from _describing(data, box, depth + 1)
