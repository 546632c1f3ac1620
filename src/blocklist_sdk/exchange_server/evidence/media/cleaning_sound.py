"""Copies of MP3, Ogg and WAV without tags: names, places, pictures and comments. The sound stays bit for bit."""

import struct
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content
from blocklist_sdk.exchange_server.evidence.media.parts import check, riff_parts
from blocklist_sdk.exchange_server.evidence.media.sound import ogg_checksum, sound_of_mp3


def cleaned_mp3(data: Content) -> bytes:
    """An MP3 without ID3 tags."""
    start, end = sound_of_mp3(data)
    return data[start:end]


_WAV_KEPT: Final = frozenset({b"fmt ", b"fact", b"data"})
"""What players need: Multiple Channel Audio Data and WAVE Files (Microsoft, 2007); RIFF of 1991."""


def cleaned_wav(data: Content) -> bytes:
    """A WAV without anything but its sound."""
    body = b"WAVE"
    for part in riff_parts(data):
        if part.kind in _WAV_KEPT:
            length = part.end - part.start
            body += part.kind + struct.pack("<I", length) + data[part.start : part.end] + bytes(length % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# Ogg

_OPUS_COMMENTS: Final = b"OpusTags" + bytes(8)
_VORBIS_COMMENTS: Final = b"\x03vorbis" + bytes(8) + b"\x01"
"""Comments of nobody, without any: RFC 7845, 5.2; Vorbis I, 5.2.1."""

_SEGMENTS_MAX: Final = 255
_HEAD_BYTES: Final = 27


def cleaned_ogg(data: Content) -> bytes:
    """An Ogg file with empty comments: its header pages are written anew, all others get new numbers only."""
    packets, offset, serial = _header_packets(data)
    is_opus = packets[0].startswith(b"OpusHead")
    packets[1] = _OPUS_COMMENTS if is_opus else _VORBIS_COMMENTS
    pages = [_page(packets[0], _lacing([packets[0]]), flags=2, serial=serial, number=0)]
    pages += _pages(packets[1:], serial=serial, first=1)
    number = len(pages)
    while offset < len(data):
        length = _page_bytes(data, offset)
        page = bytearray(data[offset : offset + length])
        struct.pack_into("<II", page, 18, number, 0)
        struct.pack_into("<I", page, 22, ogg_checksum(bytes(page)))
        pages.append(bytes(page))
        offset, number = offset + length, number + 1
    return b"".join(pages)


def _page_bytes(data: Content, offset: int) -> int:
    segments = data[offset + 26]
    return _HEAD_BYTES + segments + sum(data[offset + _HEAD_BYTES : offset + _HEAD_BYTES + segments])


def _header_packets(data: Content) -> tuple[list[bytes], int, int]:
    """The packets before the sound, the offset of the first page after them, and the stream's serial number.

    The last of them ends its page: RFC 7845, 3; Vorbis I, A.2.
    """
    packets, offset, wanted = [b""], 0, 2
    (serial,) = struct.unpack_from("<I", data, 14)
    while offset < len(data):
        segments = data[offset + 26]
        lengths = data[offset + _HEAD_BYTES : offset + _HEAD_BYTES + segments]
        at = offset + _HEAD_BYTES + segments
        for length in lengths:
            packets[-1] += data[at : at + length]
            at += length
            if length < _SEGMENTS_MAX:
                packets.append(b"")
        offset = at
        wanted = 3 if packets[0].startswith(b"\x01vorbis") else 2
        if len(packets) > wanted:
            break
    check(len(packets) == wanted + 1 and not packets[-1], "the Ogg file's comments are damaged")
    return packets[:-1], offset, serial


def _lacing(packets: list[bytes]) -> bytes:
    """The lengths of segments: RFC 3533, 5."""
    return b"".join(bytes([255] * (len(packet) // 255) + [len(packet) % 255]) for packet in packets)


def _pages(packets: list[bytes], *, serial: int, first: int) -> list[bytes]:
    lacing, content = _lacing(packets), b"".join(packets)
    pages, offset = list[bytes](), 0
    for start in range(0, len(lacing), _SEGMENTS_MAX):
        lengths = lacing[start : start + _SEGMENTS_MAX]
        end = offset + sum(lengths)
        goes_on = start > 0 and lacing[start - 1] == _SEGMENTS_MAX
        # A page on which no packet ends has no position: RFC 3533, 6.
        position = 0 if any(length < _SEGMENTS_MAX for length in lengths) else -1
        number = first + len(pages)
        page = _page(content[offset:end], lengths, flags=int(goes_on), serial=serial, number=number, position=position)
        pages.append(page)
        offset = end
    return pages


def _page(content: bytes, lengths: bytes, *, flags: int, serial: int, number: int, position: int = 0) -> bytes:
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, serial, number, 0, len(lengths))
    page = head + lengths + content
    return page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:]
