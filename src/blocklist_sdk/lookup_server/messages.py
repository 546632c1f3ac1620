"""HTTP requests and responses as values: what the routes read and make, without a connection."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from blocklist_sdk.lookup_server.problems import MEDIA_TYPE, Problem
from blocklist_sdk.recipient.verdict_documents import json_line

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: such as ``GET``.
        path: of the target, as it was sent.
        query: of the target, as it was sent, without the question mark.
        headers: by their names in lower case; of a repeated one the last.
        body: the content.
        is_http_1_0: whether the client speaks HTTP/1.0.
    """

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_http_1_0: bool = False

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters; empty if it is not named."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Attributes:
        status: the HTTP status.
        body: the content.
        media_type: the type of the content.
        headers: further headers.
    """

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, *, date: bytes, connection: bytes) -> bytes:
        """What goes before the body.

        Args:
            date: the Date header's line.
            connection: the Connection header's line, or nothing.
        """
        start = _STARTS.get((self.status, self.media_type)) or start_of(self.status, self.media_type)
        more = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers)
        return b"%bContent-Length: %d\r\n%b%b%b\r\n" % (start, len(self.body), date, connection, more)


def start_of(status: int, media_type: str) -> bytes:
    """The status line, and the headers that all responses of a kind have."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {media_type}\r\nCache-Control: no-store\r\n"
    ).encode("latin-1")


_STARTS: Final = {(200, media_type): start_of(200, media_type) for media_type in (JSON, ARROW)}
"""Of the usual responses."""


def json_response(document: Any, status: int = 200) -> Response:
    """A document as a response."""
    return Response(status, f"{json_line(document)}\n".encode())


def problem_response(problem: Problem) -> Response:
    """A refusal as a response."""
    return Response(problem.status, f"{json_line(problem.document())}\n".encode(), MEDIA_TYPE, problem.headers)


def decoded(text: str) -> str | None:
    """A part of a target, whose bytes are characters, without percent-encoding; None if it is not UTF-8.

    A plus stays one.

    >>> decoded("%2B62%20811"), decoded("+62"), decoded("%ff")
    ('+62 811', '+62', None)
    """
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None


def parameters(query: str, known: Iterable[str]) -> dict[str, str] | str:
    """The parameters of a query; or what is wrong with it, in words that do not repeat a value.

    Args:
        query: as it was sent.
        known: the names that a route has.

    >>> parameters("scope=sms", ["scope"]), parameters("", ["scope"])
    ({'scope': 'sms'}, {})
    >>> parameters("scop=sms", ["scope"])
    'this address takes no such parameter, only scope'
    """
    found: dict[str, str] = {}
    names = tuple(known)
    for pair in query.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name, value = decoded(raw_name), decoded(raw_value)
        if name not in names:
            return f"this address takes no such parameter, only {', '.join(names) or 'none'}"
        if value is None:
            return f"the parameter {name} is not UTF-8"
        if name in found:
            return f"the parameter {name} is given twice: give it once"
        found[name] = value
    return found
