"""The copy of a file that is given out: what it shows, without where, by whom and with what it was made."""

from collections.abc import Callable
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.cleaning_films import cleaned_film
from blocklist_sdk.exchange_server.evidence.media.cleaning_pictures import cleaned_jpeg, cleaned_png, cleaned_webp
from blocklist_sdk.exchange_server.evidence.media.cleaning_sound import cleaned_mp3, cleaned_ogg, cleaned_wav
from blocklist_sdk.exchange_server.evidence.media.pdf_process import clean_pdf


def _whole(data: Content) -> bytes:
    """AMR has frames of sound and nothing else."""
    return data[:]


_CLEANERS: Final[dict[str, Callable[[Content], bytes]]] = {
    "image/png": cleaned_png,
    "image/jpeg": cleaned_jpeg,
    "image/webp": cleaned_webp,
    "application/pdf": clean_pdf,
    "video/mp4": cleaned_film,
    "audio/mp4": cleaned_film,
    "video/3gpp": cleaned_film,
    "audio/3gpp": cleaned_film,
    "video/3gpp2": cleaned_film,
    "audio/3gpp2": cleaned_film,
    "audio/mpeg": cleaned_mp3,
    "audio/ogg": cleaned_ogg,
    "audio/AMR": _whole,
    "audio/AMR-WB": _whole,
    "audio/wav": cleaned_wav,
}


def cleaned(media_type: str, content: Content) -> bytes:
    """The copy of a file without what describes its author and place. The same file gives the same copy.

    Args:
        media_type: the file's type, as it was judged.
        content: the file.

    Raises:
        Unfit: no such copy can be made of it.
        OSError: a process that reads PDFs could not be started.
    """
    cleaner = _CLEANERS.get(media_type)
    if cleaner is None:
        raise Unfit(f"it is unknown what files of the type {media_type} tell about their author")
    return cleaner(content)
