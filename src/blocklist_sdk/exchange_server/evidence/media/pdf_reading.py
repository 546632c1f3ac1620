"""Reading a PDF with qpdf (pikepdf), within the process that has limits; see `pdf_child`."""

import io

import pikepdf
from pikepdf import Name, Pdf, Stream

from blocklist_sdk.exchange_server.evidence.judge import Unfit
from blocklist_sdk.exchange_server.evidence.media.cleaning_pictures import cleaned_jpeg
from blocklist_sdk.exchange_server.evidence.media.images import JPEG_START
from blocklist_sdk.exchange_server.evidence.media.parts import check
from blocklist_sdk.exchange_server.evidence.media.pdf_bytes import check_bytes
from blocklist_sdk.exchange_server.evidence.media.pdf_rules import UNPACKED_MAX, Active, check_document

_DAMAGED = "the PDF is damaged, and a reader would have to guess what it holds: print it to a new one"
_NO_MEMORY = "bad_alloc"
"""What the C++ library calls it where it catches that memory ran out."""

_PERSONAL = ("/Metadata", "/PieceInfo", "/LastModified", "/Thumb")
"""What describes who made a page or picture, and with which programs."""


def judged(data: bytes) -> bytes:
    """Refuse a document that is not evidence; returns nothing.

    Raises:
        Unfit: it is not evidence.
    """
    check_bytes(data)
    with _opened(data):
        return b""


def cleaned(data: bytes) -> bytes:
    """A document written anew from what it shows, without what describes its author and the place of its pictures.

    Only what its pages refer to is in it. The same document gives the same bytes, with one version of the library.

    Raises:
        Unfit: it is not evidence by today's rules.
    """
    with _opened(data) as pdf:
        root, out = pdf.Root, io.BytesIO()
        for owner, key in ((pdf.trailer, "/Info"), (root, "/OpenAction")):
            if key in owner:
                del owner[key]
        for value in pdf.objects:
            if isinstance(value, pikepdf.Dictionary | Stream):
                for key in _PERSONAL:
                    if key in value:
                        del value[key]
            if isinstance(value, Stream) and value.get("/Filter") in (Name.DCTDecode, [Name.DCTDecode]):
                _clean_picture(value)
        pdf.save(
            out,
            preserve_pdfa=False,
            fix_metadata_version=False,
            compress_streams=False,
            stream_decode_level=pikepdf.StreamDecodeLevel.none,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
            deterministic_id=True,
        )
        return out.getvalue()


def _clean_picture(value: pikepdf.Object) -> None:
    picture = value.read_raw_bytes()
    check(picture[:3] == JPEG_START, "a picture in the PDF is damaged")
    parameters = value.get("/DecodeParms")
    is_given = isinstance(parameters, pikepdf.Dictionary | pikepdf.Array)
    value.write(
        cleaned_jpeg(picture),
        filter=Name.DCTDecode,
        decode_parms=parameters if is_given else None,  # type: ignore[arg-type]
    )


def _opened(data: bytes) -> Pdf:
    """A document that was read without a doubt and holds nothing that acts.

    Raises:
        Unfit: it is another one.
    """
    pikepdf.settings.set_qpdf_limits(
        flate_max_memory=UNPACKED_MAX,
        run_length_max_memory=UNPACKED_MAX,
        png_max_memory=UNPACKED_MAX,
        tiff_max_memory=UNPACKED_MAX,
        max_stream_filters=2,
    )
    try:
        pdf = Pdf.open(io.BytesIO(data), attempt_recovery=False, inherit_page_attributes=False)
        check_document(pdf)
        warnings = pdf.get_warnings()
        if any(_NO_MEMORY in str(warning) for warning in warnings):
            raise MemoryError
        check(not warnings, _DAMAGED)
    except pikepdf.PasswordError:
        raise Active("it is encrypted, so its content cannot be checked: save it without a password") from None
    except (pikepdf.PdfError, ValueError, TypeError, OverflowError) as error:
        if _NO_MEMORY in str(error):
            raise MemoryError from error
        raise Unfit(_DAMAGED) from error
    return pdf
