"""What is given out of evidence: copies without where and by whom it was made; and how large pictures may be."""

import base64
import hashlib
import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.exchange_server.evidence.judge import Unfit
from blocklist_sdk.exchange_server.evidence.media import MediaJudge
from blocklist_sdk.exchange_server.evidence.media.cleaning import cleaned
from blocklist_sdk.exchange_server.evidence.media.cleaning_pictures import exif_of, orientation_of
from blocklist_sdk.exchange_server.evidence.media.sound import ogg_checksum
from support.evidence_files import (
    ID3,
    JPEG_FRAME,
    MP3_FRAME,
    OPUS_HEAD,
    PNG_PIXELS,
    WEBP_EXTENDED,
    WEBP_LOSSY,
    allowed_files,
    box,
    film,
    jpeg,
    ogg_page,
    pdf,
    png,
    png_chunk,
    png_header,
    riff,
    segment,
    wav,
)
from support.talking import Talk

JUDGE = MediaJudge()
SECRET = b"6.2088S 106.8456E Budi Santoso"
EXIF = b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x3b\x01\x02\0\x1e\0\0\0\x26\0\0\0\0\0\0\0" + SECRET
"""Orientation 6, and an artist."""


def judged(content: bytes) -> str:
    return JUDGE.judge(content)


@pytest.mark.parametrize(("content", "media_type"), [row[2:] for row in allowed_files()])
def test_a_copy_is_evidence_of_the_same_kind_and_its_own_copy(content: bytes, media_type: str) -> None:
    copy = cleaned(media_type, content)
    assert judged(copy) == media_type
    assert cleaned(media_type, copy) == copy


def tagged_film() -> bytes:
    describing = box(b"udta", box(b"\xa9xyz", SECRET)) + box(b"meta", SECRET) + box(b"uuid", SECRET)
    return film(b"isom", b"vide", more=describing + box(b"free", SECRET))


def nested_film() -> bytes:
    plain = film(b"isom", b"vide")
    at = plain.index(b"moov") - 4
    (length,) = struct.unpack_from(">I", plain, at)
    inside = plain[at + 8 : at + length] + box(b"udta", box(b"loci", SECRET))
    return plain[:at] + box(b"moov", inside) + plain[at + length :]


OPUS_TAGS = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<II", 1, len(SECRET)) + SECRET
LONG_TAGS = b"OpusTags" + bytes(8) + SECRET * 3000
"""Comments on several pages."""


def long_ogg() -> bytes:
    pages = [ogg_page(0, OPUS_HEAD, first=True)]
    lacing, rest = len(LONG_TAGS) // 255, LONG_TAGS
    assert lacing > 255
    pages.append(_page_of(1, rest[: 255 * 255], bytes([255] * 255), flags=0))
    rest = rest[255 * 255 :]
    pages.append(_page_of(2, rest, bytes([255] * (len(rest) // 255) + [len(rest) % 255]), flags=1))
    return b"".join([*pages, ogg_page(3, bytes(600)), ogg_page(4, bytes(9), last=True)])


def _page_of(number: int, content: bytes, lengths: bytes, *, flags: int) -> bytes:
    page = b"OggS" + struct.pack("<BBqIIIB", 0, flags, 0, 7, number, 0, len(lengths)) + lengths + content
    return page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:]


TELLING = {
    "jpeg EXIF": jpeg(segment(0xE1, b"Exif\0\0" + EXIF)),
    "jpeg XMP": jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)),
    "jpeg IPTC": jpeg(segment(0xED, b"Photoshop 3.0\0" + SECRET)),
    "jpeg maker": jpeg(segment(0xE4, SECRET), segment(0xEF, SECRET)),
    "jpeg comment": jpeg(segment(0xFE, SECRET)),
    "jpeg preview": jpeg(segment(0xE0, b"JFXX\0" + SECRET)),
    "jpeg second picture": jpeg(segment(0xE2, b"MPF\0")) + jpeg(segment(0xFE, SECRET)),
    "png text": png(png_chunk(b"tEXt", b"Author\0" + SECRET)),
    "png packed text": png(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(SECRET))),
    "png XMP": png(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SECRET)),
    "png EXIF": png(png_chunk(b"eXIf", EXIF)),
    "png time": png(png_chunk(b"tIME", SECRET[:7])),
    "webp EXIF": riff(b"WEBP", WEBP_EXTENDED, WEBP_LOSSY, (b"EXIF", EXIF)),
    "webp XMP": riff(b"WEBP", WEBP_EXTENDED, WEBP_LOSSY, (b"XMP ", SECRET)),
    "film": tagged_film(),
    "film within": nested_film(),
    "mp3": ID3[:9] + b"\x1e" + SECRET + MP3_FRAME * 3 + b"TAG" + SECRET.ljust(125),
    "ogg": ogg_page(0, OPUS_HEAD, first=True) + ogg_page(1, OPUS_TAGS) + ogg_page(2, bytes(600), last=True),
    "ogg of long comments": long_ogg(),
    "wav": wav((b"LIST", b"INFOIART" + SECRET), (b"bext", SECRET)),
}


@pytest.mark.parametrize("what", TELLING)
def test_a_copy_does_not_tell_where_and_by_whom(what: str) -> None:
    content = TELLING[what]
    media_type = judged(content)
    copy = cleaned(media_type, content)
    assert judged(copy) == media_type
    for secret in (SECRET, SECRET[:7], zlib.compress(SECRET), b"Budi", b"Author"):
        assert secret not in copy
    assert orientation_of(EXIF) == 6
    if "EXIF" in what:
        assert exif_of(6) in copy
    if what == "film":
        assert len(copy) == len(content)


def test_pixels_and_colours_stay() -> None:
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y"))
    copy = cleaned("image/png", png(profile, png_chunk(b"tEXt", b"a\0b")))
    assert profile in copy
    assert PNG_PIXELS in copy
    icc, adobe = segment(0xE2, b"ICC_PROFILE\0\1\1abc"), segment(0xEE, b"Adobe\0d\0\0\0\0\1")
    assert icc + adobe in cleaned("image/jpeg", jpeg(icc, adobe))


def test_a_film_with_a_track_of_data_has_no_copy() -> None:
    with pytest.raises(Unfit, match="may hold positions"):
        cleaned("video/mp4", film(b"isom", b"vide", b"meta"))
    with pytest.raises(Unfit, match="unknown"):
        cleaned("text/plain", b"Dear Sir")


@settings(max_examples=200, deadline=None)
@given(tiff=st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"II*\0\x08\0\0\0" + rest))
def test_any_exif_has_an_orientation(tiff: bytes) -> None:
    assert 1 <= orientation_of(tiff) <= 8


# Bounds


def wide_png(side: int, *, depth: int = 8, colour: int = 6, more: bytes = b"") -> bytes:
    return png(more, header=png_header(side, side, depth=depth, colour=colour))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (wide_png(10_900, depth=16), "unpacks to 950 MB"),
        (wide_png(7_000, depth=16), "unpacks to 392 MB"),
        (png(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9_000_000)))), "a text in the PNG"),
        (png(png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(9_000_000)))), "a text in the PNG"),
        (png(png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(9_000_000)))), "a text in the PNG"),
        (png(*[png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))] * 3), "a text in the PNG"),
        (
            wide_png(2_000, more=png_chunk(b"fcTL", struct.pack(">5I", 0, 2000, 2000, 0, 0) + bytes(6)) * 9),
            "far more than its size",
        ),
        (jpeg(frame=segment(0xC0, struct.pack(">BHHB", 8, 10_000, 10_000, 3) + bytes(9))), "far more than its size"),
        (jpeg(frame=JPEG_FRAME + b"".join([segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\x12"] * 65)), "layers"),
        (
            riff(b"WEBP", WEBP_EXTENDED, *[(b"ANMF", bytes(6) + b"\xff\x1f\0\xff\x1f\0" + bytes(4))] * 3, WEBP_LOSSY),
            "far more than its size",
        ),
    ],
)  # fmt: skip
def test_a_picture_that_unpacks_to_far_more_than_its_size_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        judged(content)


def test_pictures_of_phones_are_not_too_large() -> None:
    judged(wide_png(5_600))  # 31 megapixels
    frame = segment(0xC0, struct.pack(">BHHB", 8, 9_000, 12_000, 3) + bytes(9))
    judged(jpeg(*[segment(0xE4, bytes(65_000))] * 120, frame=frame))  # 108 megapixels in 8 MB


@pytest.mark.parametrize(
    "text", [b"<svg/onload=alert(1)>", b"<svg\nxmlns='http://a'>", b"<body onload=x()>", b"<a onfocus =b>"]
)
def test_a_page_in_a_comment_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit, match="a web page or a script hides in it"):
        judged(png(png_chunk(b"tEXt", b"Comment\0" + text)))


# On a running server


def test_officers_get_a_copy_unless_they_ask_for_the_original(lite: Talk) -> None:
    content = TELLING["jpeg EXIF"]
    report = lite.report()["id"]
    file = lite.attach(report, content=content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert file["sha256"] == sha256
    copy = lite.get("anna", f"/v1/evidence/{file['id']}")
    assert copy.content == cleaned("image/jpeg", content)
    assert copy.headers["Evidence-Copy"] == "cleaned"
    digest = base64.b64encode(hashlib.sha256(copy.content).digest()).decode()
    assert copy.headers["Content-Digest"] == f"sha-256=:{digest}:"
    original = lite.get("anna", f"/v1/evidence/{file['id']}?original=true")
    assert (original.content, original.headers["Evidence-Copy"]) == (content, "original")
    assert original.headers["Content-Digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    assert lite.exchange.evidence.verify(sha256)


def test_a_file_without_a_copy_is_given_out_only_as_it_was_sent(lite: Talk) -> None:
    content = film(b"isom", b"vide", b"meta")
    file = lite.attach(lite.report()["id"], content=content)
    refused = lite.get("anna", f"/v1/evidence/{file['id']}")
    assert refused.status_code == 409
    assert "original=true" in json.loads(refused.content)["detail"]
    assert lite.get("anna", f"/v1/evidence/{file['id']}?original=true").content == content


def test_documents_that_act_are_refused_by_the_server(lite: Talk) -> None:
    report = lite.report()["id"]
    content = pdf(page=b"/AA << /O << /S /URI /URI (http://a) >> >>")
    answer = lite.post("web", f"/v1/reports/{report}/evidence?name=a.pdf", content=content)
    assert answer.status_code == 422
    assert "acts when it is opened" in answer.json()["detail"]
