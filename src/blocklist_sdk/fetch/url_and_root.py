"""Checks the URL and the pinned root that a caller gives for a repository. Does not use the network."""

from pathlib import Path

from blocklist_sdk.encodings import without_mark
from blocklist_sdk.errors import InvalidInput, concerning
from blocklist_sdk.net.addresses import read_url
from blocklist_sdk.release.limits import ROOT_BYTES_MAX


def base_url(url: str) -> str:
    """A repository's base URL, without a slash at its end.

    Raises:
        InvalidInput: `url` is not a URL, has a query, or has another scheme than https:, http: or file:.

    >>> base_url("https://lists.example/")
    'https://lists.example'
    """
    example = "https://lists.example/repository, with https:, http: or file:"
    with concerning("url"):
        read = read_url(url, what="the repository's base URL", example=example)
    if read.scheme not in ("https", "http", "file") or not (read.host or read.path) or "," in read.hosts:
        raise InvalidInput(
            "the repository's address must be a base URL that starts with https:, http: or file:", argument="url"
        )
    if "?" in url:
        raise InvalidInput(
            f"{read} is followed by a question mark: a base URL ends with its path, since the names of files are added "
            "to it. For a token or a key, use an account (client_id) or headers=",
            argument="url",
        )
    return url.rstrip("/")


def read_root(root: str | Path | bytes) -> bytes:
    """The bytes of the pinned root metadata; they are not parsed here.

    Raises:
        InvalidInput: the file cannot be read, is not a regular file, or is too large.
    """
    if isinstance(root, bytes):
        return without_mark(root, "the root metadata")
    try:
        path = Path(root)
        if path.exists() and not path.is_file():
            raise InvalidInput(
                f"{root} is not a regular file: give the root.json that you got from the authority", argument="root"
            )
        with path.open("rb") as file:
            data = file.read(ROOT_BYTES_MAX + 1)
    except InvalidInput:
        raise
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(
            f"cannot read the root metadata {root}: {reason}. Get root.json from the authority.", argument="root"
        ) from error
    if len(data) > ROOT_BYTES_MAX:
        raise InvalidInput(f"{root} is too large for root metadata: get root.json from the authority", argument="root")
    return without_mark(data, f"the root metadata {root}")
