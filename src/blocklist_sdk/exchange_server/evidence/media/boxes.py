"""MP4, M4A and 3GP: nested boxes (ISO/IEC 14496-12), whose sizes must add up to the byte."""

import struct
from collections.abc import Iterator
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import PARTS_MAX, Part, check

_MP4_BRANDS: Final = frozenset(
    {b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1"}
    | {b"M4A ", b"M4V ", b"MSNV", b"dash"}
)
_3GPP_BRANDS: Final = (b"3gp", b"3gr", b"3gs", b"3ge", b"3gg", b"3g2")
"""3GPP TS 26.244, 5.3.4 and 3GPP2 C.S0050; a digit follows, or a letter."""

_TOP: Final = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"meta", b"udta", b"pdin"}
    | {b"moof", b"mfra", b"sidx", b"ssix", b"styp", b"prft", b"emsg"}
)
"""Outermost boxes: ISO/IEC 14496-12:2022, table 1; `wide` is QuickTime's padding."""


def film_or_recording(data: Content) -> str:
    """Judge an MP4, M4A or 3GP: its brand says which family, its tracks whether it is video or audio."""
    outer = list(boxes(data, Part(b"", 0, len(data))))
    check(outer[0].kind == b"ftyp", "the file does not begin with its type")
    family = _family(data, outer[0])
    unknown = [box.kind for box in outer if box.kind not in _TOP]
    check(not unknown, "it has a part that no player knows")
    films = [box for box in outer if box.kind == b"moov"]
    check(len(films) == 1, "it has no index of its content, or more than one")
    check(any(box.kind == b"mdat" for box in outer), "it has no content to play")
    handlers = set(handlers_of(data, films[0]))
    check(bool(handlers & {b"vide", b"soun"}), "it has neither pictures nor sound")
    return f"{'video' if b'vide' in handlers else 'audio'}/{family}"


def _family(data: Content, box: Part) -> str:
    check(box.end - box.start >= 8 and (box.end - box.start) % 4 == 0, "its type is damaged")
    major = data[box.start : box.start + 4]
    compatible = [data[offset : offset + 4] for offset in range(box.start + 8, box.end, 4)]
    if major[:3] in _3GPP_BRANDS:
        return "3gpp2" if major[:3] == b"3g2" else "3gpp"
    if major in _MP4_BRANDS and b"qt  " not in compatible:
        return "mp4"
    name = ascii(major.decode("latin-1")).strip("'").strip()
    raise Unfit(f"it is of the type {name!r}, neither MP4 nor M4A nor 3GP", known=False)


def handlers_of(data: Content, film: Part) -> Iterator[bytes]:
    """The kind of each track of a film: `vide`, `soun` or another."""
    inner = list(boxes(data, film))
    check(any(box.kind == b"mvhd" for box in inner), "its index is damaged")
    for track in inner:
        if track.kind != b"trak":
            continue
        media = [box for box in boxes(data, track) if box.kind == b"mdia"]
        check(len(media) == 1, "a track is damaged")
        found = [box for box in boxes(data, media[0]) if box.kind == b"hdlr"]
        check(len(found) == 1 and found[0].end - found[0].start >= 12, "a track is damaged")
        yield data[found[0].start + 8 : found[0].start + 12]


def boxes(data: Content, around: Part) -> Iterator[Part]:
    """Walk over the boxes inside another one, or over the outermost ones."""
    offset = around.start
    for _ in range(PARTS_MAX):
        if offset == around.end:
            return
        check(offset + 8 <= around.end, "a part of it is cut off")
        length, kind = struct.unpack_from(">I4s", data, offset)
        head = 8
        if length == 1:
            check(offset + 16 <= around.end, "a part of it is cut off")
            (length,) = struct.unpack_from(">Q", data, offset + 8)
            head = 16
        check(length >= head, "a part of it is damaged")
        check(offset + length <= around.end, "a part of it reaches past its end, or it is cut off")
        yield Part(kind, offset + head, offset + length)
        offset += length
    raise Unfit("it has too many parts")
