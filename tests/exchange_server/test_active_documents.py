"""PDFs: whatever acts is refused, wherever and however it is written; printed and scanned documents are taken."""

import io
import re
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.exchange_server.evidence.judge import Unfit
from blocklist_sdk.exchange_server.evidence.media import MediaJudge, pdf_child, pdf_process
from blocklist_sdk.exchange_server.evidence.media.pdf_reading import cleaned, judged
from support.evidence_files import jpeg, packed_objects, packed_pdf, pdf, pdf_around, segment

ACTIONS = {
    b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>": "JavaScript",
    b"<< /S /URI /URI (https://example.net/pay) >>": "internet",
    b"<< /S /URI /URI (javascript:alert\\(1\\)) >>": "internet",
    b"<< /S /Launch /F (cmd.exe) >>": "programs",
    rb"<< /S /GoToR /F (\\\\host\\share\\a.pdf) /D [0 /Fit] >>": "other files",
    b"<< /S /GoToE /T << /R /C /N (a) >> /D [0 /Fit] >>": "other files",
    b"<< /S /SubmitForm /F (http://example.net) >>": "sends data",
    b"<< /S /ImportData /F (a.fdf) >>": "reads other files",
    b"<< /S /Rendition /OP 0 >>": "films",
    b"<< /S /RichMediaExecute >>": "films",
    b"<< /S /Movie >>": "films",
    b"<< /S /Sound /Sound null >>": "films",
    b"<< /S /GoTo3DView >>": "films",
}

PLACES: dict[str, Callable[[bytes], bytes]] = {
    "the catalog": lambda action: pdf(catalog=b"/OpenAction " + action),
    "the catalog, in another object": lambda action: pdf(
        b"4 0 obj\n%s\nendobj\n" % action, catalog=b"/OpenAction 4 0 R"
    ),
    "what happens later": lambda action: pdf(catalog=b"/AA << /WC %s >>" % action),
    "a page": lambda action: pdf(page=b"/AA << /O %s >>" % action),
    "a link": lambda action: pdf(page=b"/Annots [<< /Subtype /Link /Rect [0 0 9 9] /A %s >>]" % action),
    "a link's preview": lambda action: pdf(page=b"/Annots [<< /Subtype /Link /Rect [0 0 9 9] /PA %s >>]" % action),
    "a bookmark": lambda action: pdf(
        b"4 0 obj\n<< /First 5 0 R /Last 5 0 R >>\nendobj\n",
        b"5 0 obj\n<< /Title (a) /Parent 4 0 R /A %s >>\nendobj\n" % action,
        catalog=b"/Outlines 4 0 R",
    ),
    "a field": lambda action: pdf(catalog=b"/AcroForm << /Fields [<< /FT /Tx /T (a) /AA << /K %s >> >>] >>" % action),
    "its names": lambda action: pdf(catalog=b"/Names << /JavaScript << /Names [(a) %s] >> >>" % action),
    "a packed object": lambda action: packed_pdf(action, catalog=b"/OpenAction 6 0 R"),
    "a packed object of a misspelt kind": lambda action: packed_pdf(
        action, catalog=b"/OpenAction 6 0 R", kind=b"/ObjStn"
    ),
    "an object that nothing refers to": lambda action: pdf(b"4 0 obj\n%s\nendobj\n" % action),
    "an object that no table has": lambda action: pdf(b"% \n9 0 obj\n" + action + b"\nendobj\n"),
    "a packed object that no table has": lambda action: pdf(packed_objects(b"6 0 " + action)),
    "a comment": lambda action: pdf(b"% 9 0 obj " + action + b" endobj\n"),
    "a stream": lambda action: pdf(
        b"4 0 obj\n<< /Length %d >>\nstream\n9 0 obj %s endobj\nendstream\nendobj\n" % (len(action) + 15, action)
    ),
    "an older state": lambda action: older_state(action),
}


def older_state(action: bytes) -> bytes:
    """A document whose catalog was replaced by one without the action."""
    first = pdf(catalog=b"/OpenAction " + action)
    table = int(first.split(b"startxref\n")[1].split()[0])
    again = b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    end = b"xref\n1 1\n%010d 00000 n \ntrailer\n<< /Size 4 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n"
    return first + again + end % (len(first), table, len(first) + len(again))


def spelt(action: bytes, draw: Callable[[st.SearchStrategy[bool]], bool]) -> bytes:
    """The same action with characters of its names as `#` and two digits."""
    return re.sub(
        rb"/[A-Za-z0-9]+",
        lambda name: (
            b"/" + b"".join(b"#%02X" % letter if draw(st.booleans()) else bytes([letter]) for letter in name[0][1:])
        ),
        action,
    )


def refusal(content: bytes) -> str:
    with pytest.raises(Unfit) as refused:
        judged(content)
    return refused.value.reason


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_refused_in_every_place(place: str, action: bytes) -> None:
    assert "the PDF" in refusal(PLACES[place](action))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), place=st.sampled_from(sorted(PLACES)), action=st.sampled_from(sorted(ACTIONS)))
def test_an_action_is_refused_in_every_spelling(data: st.DataObject, place: str, action: bytes) -> None:
    refusal(PLACES[place](spelt(action, data.draw)))


@pytest.mark.parametrize("action", ACTIONS)
def test_the_reason_says_what_is_wrong(action: bytes) -> None:
    assert ACTIONS[action] in refusal(PLACES["a link"](action))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pdf(catalog=b"/Names << /EmbeddedFiles << /Names [(a) 9 0 R] >> >>"), "other files"),
        (pdf(b"4 0 obj\n<< /Type /Filespec /F (a.exe) /EF << /F 9 0 R >> >>\nendobj\n"), "other files"),
        (pdf(page=b"/Annots [<< /Subtype /FileAttachment /Rect [0 0 9 9] >>]"), "other files"),
        (pdf(page=b"/Annots [<< /Subtype /RichMedia /Rect [0 0 9 9] >>]"), "films"),
        (pdf(page=b"/Annots [<< /Subtype /3D /Rect [0 0 9 9] >>]"), "films"),
        (pdf(page=b"/Annots [<< /Subtype /Screen /Rect [0 0 9 9] >>]"), "films"),
        (pdf(page=b"/Annots [<< /Subtype /Unheard-of /Rect [0 0 9 9] >>]"), "something unknown"),
        (pdf(page=b"/Annots [<< /Subtype /Link /A << /S /Novel >> >>]"), "an action of the kind Novel"),
        (pdf(catalog=b"/AcroForm << /Fields [] /XFA (a) >>"), "form with scripts"),
        (pdf(catalog=b"/AcroForm << /Fields [] /CO [] >>"), "its form holds CO"),
        (pdf(catalog=b"/Collection << >>"), "other files"),
        (pdf(catalog=b"/URI << /Base (http://a) >>"), "internet"),
        (pdf(catalog=b"/Requirements []"), "its catalog holds Requirements"),
        (pdf(page=b"/Novel 1"), "a page holds Novel"),
        (pdf(b"4 0 obj\n<< /Length 0 /F (http://a/b) >>\nstream\n\nendstream\nendobj\n"), "other files"),
        (pdf(b"4 0 obj\n<< /Subtype /Form /Ref << >> /Length 0 >>\nstream\n\nendstream\nendobj\n"), "other files"),
        (pdf(b"4 0 obj\n<< /Subtype /PS /Length 0 >>\nstream\n\nendstream\nendobj\n"), "PostScript"),
        (pdf(trailer=b"/Encrypt << /Filter /Standard >>"), "encrypted"),
        (pdf(b"4 0 obj\n%s\nendobj\n" % (b"[" * 200 + b"]" * 200)), "nested too deeply"),
        (pdf(b"4 0 obj\n<< /Subtype /Image /Width 99999 /Height 99999 /Length 0 >>\nstream\n\nendstream\nendobj\n"),
         "megapixels"),
        (pdf(page=b"/Annots 5"), "not a list"),
        (pdf_around(b"1 0 obj\n<< /Type /Catalog >>\nendobj\n"), "would have to guess"),
        (packed_pdf(b"<< /Type /Font >>", kind=b"/ObjStn"), "would have to guess"),
        (pdf().replace(b"0000000015", b"0000000016"), "would have to guess"),
    ],
)  # fmt: skip
def test_what_documents_do_not_need_is_refused(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_a_stream_that_unpacks_without_end_is_refused() -> None:
    wall = zlib.compress(bytes(300_000_000), 1)
    stream = b"4 0 obj\n<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (len(wall), wall)
    assert "far more than its size" in refusal(pdf(stream))
    twice = stream.replace(b"/FlateDecode", b"[/FlateDecode /FlateDecode]")
    assert "more than once" in refusal(pdf(twice))


PLAIN = {
    "LibreOffice": pdf(
        catalog=b"/OpenAction [3 0 R /XYZ null null 0] /Lang (id-ID) /MarkInfo << /Marked true >>",
        trailer=b"/DocChecksum /0123456789ABCDEF0123456789ABCDEF",
    ),
    "LaTeX": pdf(
        catalog=b"/OpenAction << /S /GoTo /D [3 0 R /Fit] >> /PageMode /UseOutlines /Names << /Dests << /Names "
        b"[(a) << /D [3 0 R /XYZ 0 0 null] >>] >> >>",
        page=b"/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /GoTo /D (a) >> >>]",
    ),
    "a browser": pdf(
        catalog=b"/StructTreeRoot << /Type /StructTreeRoot /K [] >> /ViewerPreferences << /DisplayDocTitle true >>",
        page=b"/StructParents 0 /Tabs /S /Resources << /ExtGState << /G3 << /ca 1 /BM /Screen >> >> >>",
    ),
    "a scanner": pdf(
        b"4 0 obj\n<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (len(jpeg()), jpeg()),
        page=b"/Resources << /XObject << /Im0 4 0 R >> >>",
    ),
    "a signed letter": pdf(
        b"4 0 obj\n<< /FT /Sig /T (Signature1) /Type /Annot /Subtype /Widget /Rect [0 0 0 0] /F 132 /P 3 0 R "
        b"/V << /Type /Sig /Filter /Adobe.PPKLite /SubFilter /adbe.pkcs7.detached /Contents <00> >> >>\nendobj\n",
        catalog=b"/AcroForm << /Fields [4 0 R] /SigFlags 3 >>",
        page=b"/Annots [4 0 R]",
    ),
    "packed objects": packed_pdf(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"),
}  # fmt: skip


@pytest.mark.parametrize("source", PLAIN)
def test_printed_and_scanned_documents_are_taken(source: str) -> None:
    judged(PLAIN[source])
    copy = cleaned(PLAIN[source])
    judged(copy)
    assert cleaned(PLAIN[source]) == copy


@pytest.mark.parametrize(
    "written", [{}, {"linearize": True}, {"object_stream_mode": pikepdf.ObjectStreamMode.generate}, {"qdf": True}]
)
def test_what_a_library_writes_is_taken(written: dict[str, object]) -> None:
    document = pikepdf.Pdf.new()
    for _ in range(3):
        document.add_blank_page()
    document.pages[0].Contents = document.make_stream(b"BT (1 + 1) Tj ET")
    out = io.BytesIO()
    document.save(out, **written)  # type: ignore[arg-type]
    judged(out.getvalue())


def test_a_copy_has_neither_author_nor_place_nor_what_nothing_refers_to() -> None:
    picture = jpeg(segment(0xE1, b"Exif\0\0GPS 6.2S 106.8E"), segment(0xFE, b"by Budi"))
    stream = b"4 0 obj\n<< /Subtype /Image /Width 1 /Height 1 /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream\n"
    document = pdf(
        stream % (len(picture), picture) + b"endobj\n",
        b"5 0 obj\n<< /Author (Budi) /Producer (Kamera) >>\nendobj\n",
        b"6 0 obj\n<< /Type /Metadata /Subtype /XML /Length 4 >>\nstream\nBudi\nendstream\nendobj\n",
        b"7 0 obj\n(Budi)\nendobj\n",
        catalog=b"/Metadata 6 0 R /OpenAction [3 0 R /Fit]",
        page=b"/Resources << /XObject << /Im0 4 0 R >> >>",
        trailer=b"/Info 5 0 R",
    )
    judged(document)
    copy = cleaned(document)
    assert not re.search(rb"Budi|GPS|Kamera|OpenAction|Metadata", copy)
    judged(copy)


# The process


@pytest.mark.parametrize(
    ("limit", "most", "reason"), [("MEMORY_MAX", 110_000_000, "memory"), ("CPU_MAX_S", 1, "longer")]
)
def test_a_document_that_costs_too_much_is_refused_by_its_process(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, reason: str
) -> None:
    many = [b"%d 0 obj\n[%s]\nendobj\n" % (at, b"[[]] " * 20_000) for at in range(4, 24)]
    room, _, name = pdf_child.__name__.rpartition(".")
    start = f"import sys, json; sys.path[:] = json.loads(sys.argv[2]); from {room} import {name}; "
    start += f"{name}.{limit} = {most}; {name}.main(sys.argv[1])"
    monkeypatch.setattr(pdf_process, "_START", start)
    with pytest.raises(Unfit, match=reason):
        pdf_process.judge_pdf(pdf(*many))


def test_a_process_that_cannot_read_is_no_fault_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_START", "raise SystemExit('no library')")
    with pytest.raises(OSError, match="no library"):
        pdf_process.judge_pdf(pdf())
    monkeypatch.setattr(pdf_process, "_START", "import os; os.abort()")
    with pytest.raises(Unfit, match="breaks a reader"):
        pdf_process.judge_pdf(pdf())


def test_a_judge_asks_the_process() -> None:
    assert MediaJudge().judge(PLAIN["LaTeX"]) == "application/pdf"
    with pytest.raises(Unfit, match="internet"):
        MediaJudge().judge(PLACES["a link"](next(action for action in ACTIONS if b"URI" in action)))
