"""MP3, Ogg, AMR and WAV: frame after frame to the end, and nothing in between."""

import re
import struct
import zlib
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import PARTS_MAX, check, riff_parts

_FRAMES_MAX: Final = 1_000_000
"""Most frames of a file: over five hours of 20 ms each. More fit into 20 MB only if they are silent."""

# MP3

_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Hertz by version bits, 3 for MPEG-1, 2 for MPEG-2, 0 for "2.5": ISO/IEC 11172-3, 2.4.2.3, and 13818-3, 2.4.2.3."""

_KILOBITS: Final = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Per second, by whether it is MPEG-1; layer III. Index 0 means "free", which nothing makes."""

_TAG_V1_BYTES: Final = 128
_LEAST_FRAMES: Final = 2
"""A single frame header, 11 bits and a few choices, is too little evidence that a file is MP3."""


def is_mp3_frame(head: bytes) -> bool:
    """Whether bytes begin like a frame of MPEG audio, layer III."""
    return len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def mp3(data: Content) -> str:
    """Judge an MP3: an ID3 tag or none, frames of one kind without a gap, an ID3v1 tag or none."""
    offset, end = sound_of_mp3(data)
    frames, first = 0, None
    while offset < end:
        check(frames < _FRAMES_MAX, "the MP3 has too many frames")
        check(offset + 4 <= end, "something follows the end of the MP3, or it is cut off")
        length, kind = _mp3_frame(data[offset : offset + 4])
        check(first in (None, kind), "the MP3 changes its version or rate")
        first = kind
        frames += 1
        offset += length
    check(offset == end, "the MP3 is cut off")
    check(frames >= _LEAST_FRAMES, "the MP3 has no sound")
    return "audio/mpeg"


def sound_of_mp3(data: Content) -> tuple[int, int]:
    """The offsets of an MP3's sound, between its tags."""
    offset, end = _after_tags(data), len(data)
    if end - offset >= _TAG_V1_BYTES and data[end - _TAG_V1_BYTES : end - _TAG_V1_BYTES + 3] == b"TAG":
        end -= _TAG_V1_BYTES
    return offset, end


def _after_tags(data: Content) -> int:
    offset = 0
    while data[offset : offset + 3] == b"ID3":
        head = data[offset : offset + 10]
        plausible = len(head) == 10 and head[3] in (2, 3, 4) and not any(byte & 0x80 for byte in head[6:])
        check(plausible, "the MP3's tag is damaged")
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + length + (10 if head[3] == 4 and head[5] & 0x10 else 0)
        check(offset <= len(data), "the MP3 is cut off")
    return offset


def _mp3_frame(head: bytes) -> tuple[int, tuple[int, int]]:
    """The length of a frame in bytes; its version and rate, which stay the same in one file."""
    check(is_mp3_frame(head), "there is something between or after the frames of the MP3")
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    check(version in _RATES and 0 < bitrate < 15 and rate < 3, "a frame of the MP3 is damaged")
    is_first_version = version == 3
    slots = 144 if is_first_version else 72
    length = slots * _KILOBITS[is_first_version][bitrate] * 1000 // _RATES[version][rate] + (head[2] >> 1 & 1)
    return length, (version, rate)


# Ogg

_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ONES: Final = 0xFFFF_FFFF
_CODECS: Final = (b"OpusHead", b"\x01vorbis")
"""The start of the first packet of a voice note: RFC 7845, 5.1; Vorbis I, 4.2.1."""


def ogg_checksum(page: bytes) -> int:
    """The checksum of a page (RFC 3533, 6): that of zlib with the bits the other way round and no complements.

    >>> hex(ogg_checksum(b"123456789"))
    '0x89a1897f'
    """
    mirrored: int = zlib.crc32(page.translate(_REVERSED), _ONES) ^ _ONES
    return int(f"{mirrored:032b}"[::-1], 2)


def ogg(data: Content) -> str:
    """Judge an Ogg file: one stream of Opus or Vorbis, page after page, each with its number and checksum."""
    offset = number = 0
    stream = None
    while offset < len(data):
        check(number < PARTS_MAX, "the Ogg file has too many pages")
        check(data[offset : offset + 4] == b"OggS", "there is something between or after the pages of the Ogg file")
        check(offset + 27 <= len(data), "the Ogg file is cut off")
        version, flags, serial, page, checksum, segments = struct.unpack_from("<4xBB8xIIIB", data, offset)
        lengths = data[offset + 27 : offset + 27 + segments]
        end = offset + 27 + segments + sum(lengths)
        check(len(lengths) == segments and end <= len(data), "the Ogg file is cut off")
        plain = data[offset : offset + 22] + bytes(4) + data[offset + 26 : end]
        check(version == 0 and flags < 8 and ogg_checksum(plain) == checksum, "a page of the Ogg file is damaged")
        is_first = number == 0
        check(bool(flags & 2) is is_first and stream in (None, serial), "the Ogg file has more than one stream")
        check(page == number, "a page of the Ogg file is missing")
        if is_first:
            start = offset + 27 + segments
            if not data[start:end].startswith(_CODECS):
                raise Unfit("it is an Ogg file with neither Opus nor Vorbis", known=False)
        stream, number, offset = serial, number + 1, end
    check(number >= _LEAST_FRAMES, "the Ogg file has no sound")
    return "audio/ogg"


# AMR

_AMR_BYTES: Final = {
    b"#!AMR\n": {**dict(enumerate((12, 13, 15, 17, 19, 20, 26, 31, 5))), 15: 0},
    b"#!AMR-WB\n": {**dict(enumerate((17, 23, 32, 36, 40, 46, 50, 58, 60, 5))), 14: 0, 15: 0},
}
"""Bytes after the first one of a frame, by its type: RFC 4867, 5.3, with 3GPP TS 26.101 and 26.201, table 1a."""

_AMR_TYPES: Final = {b"#!AMR\n": "audio/AMR", b"#!AMR-WB\n": "audio/AMR-WB"}
_AMR_PADDING: Final = 0x83
"""Bits of a frame's first byte that are zero."""


def amr(data: Content) -> str:
    """Judge an AMR voice note, narrow or wide band: one channel, frames to the end."""
    magic = next((magic for magic in _AMR_BYTES if data[: len(magic)] == magic), None)
    if magic is None:
        raise Unfit("it is an AMR with several channels, which phones do not make", known=False)
    lengths = {kind << 3 | quality << 2: 1 + n for kind, n in _AMR_BYTES[magic].items() for quality in (0, 1)}
    offset = len(magic)
    frames = heard = 0
    while offset < len(data):
        check(frames < _FRAMES_MAX, "the AMR file has too many frames")
        length = lengths.get(data[offset], 0)
        check(length > 0, "there is something between or after the frames of the AMR file")
        frames += 1
        heard += length > 1
        offset += length
    check(offset == len(data), "the AMR file is cut off")
    check(heard > 0, "the AMR file has no sound")
    return _AMR_TYPES[magic]


# WAV

_WAV_FORMATS: Final = frozenset({0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0xFFFE})
"""PCM, ADPCM, float, A-law, µ-law, IMA ADPCM, GSM and "extensible": RFC 2361, appendix A."""

_WAV_NAME: Final = re.compile(rb"[A-Za-z0-9 _-]{4}")


def wav(data: Content) -> str:
    """Judge a WAV: chunks that add up, first the kind of sound, then the sound."""
    kinds: list[bytes] = []
    for part in riff_parts(data):
        check(_WAV_NAME.fullmatch(part.kind) is not None, "a part of the WAV is damaged")
        if part.kind == b"fmt ":
            check(part.end - part.start >= 16, "the WAV's header is damaged")
            coding, channels = struct.unpack_from("<HH", data, part.start)
            check(coding in _WAV_FORMATS and channels > 0, "the WAV does not hold sound")
        if part.kind == b"data":
            check(kinds.count(b"fmt ") == 1, "the WAV's header is missing")
            check(part.end > part.start, "the WAV has no sound")
        kinds.append(part.kind)
    check(kinds.count(b"fmt ") == kinds.count(b"data") == 1, "the WAV has no sound, or more than one")
    return "audio/wav"
