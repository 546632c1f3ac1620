"""RESP, the protocol of Redis: requests are read from bytes as they come, replies are written. Pure, without I/O.

A request is an array of texts, each with its length in front, or a line of words as a person types it. Replies are of
version 2, or of version 3, which a client asks for by ``HELLO 3``. The specification is
https://redis.io/docs/latest/develop/reference/protocol-spec/.

A client may send whatever it likes, in pieces of any size: what is kept of it has an upper bound, and what is no
request ends the conversation with one error.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from blocklist_sdk.lookup_server.questions import NUMBERS_MAX

Request = list[bytes]
"""The name of a command, and its arguments."""

ProtocolVersion = Literal[2, 3]

ARGUMENTS_MAX: Final = NUMBERS_MAX + 1
"""Most texts of a request: a name, and the numbers."""

TEXT_BYTES_MAX: Final = 4_096
"""Longest text of a request: far above any number, and above the longest tokens."""

REQUEST_BYTES_MAX: Final = 1 << 20
"""Longest request, all its texts together: 10,000 numbers with room for a hundred bytes each."""

LINE_BYTES_MAX: Final = 1_024
"""Longest request that is a line of words."""

_HEADER_BYTES_MAX: Final = 32
"""Longest line that gives a count or a length; Redis has 64-bit integers there, of up to 20 digits."""

STRANGERS_ARGUMENTS_MAX: Final = 10
"""Most texts of a request before the client has given the token, as with Redis."""

_LF: Final = b"\n"
_CRLF: Final = b"\r\n"
_ARRAY, _TEXT = b"*$"
_DIGITS: Final = 7
"""More digits than any count or length that is allowed."""

_GET: Final = ("GET", "get")
"""How clients write it."""

_PLAIN_LENGTHS: Final = tuple(f"${length}" for length in range(65))
"""How the length of a short text is written."""


class RequestReader:
    r"""Reads requests from bytes as they come; the same ones however the bytes are cut.

    Attributes:
        problem: what is wrong with the bytes, after which nothing more is read; None as long as nothing is.
        arguments_max: most texts of a request.

    >>> reader = RequestReader()
    >>> reader.feed(b"*2\r\n$3\r\nGET\r\n$5\r\n0812")
    >>> reader.next(), reader.is_amid_request
    (None, True)
    >>> reader.feed(b"3\r\nping\r\n")
    >>> reader.next(), reader.next(), reader.next()
    ([b'GET', b'08123'], [b'ping'], None)
    """

    __slots__ = ("_at", "_buffer", "_left", "_request", "_size", "arguments_max", "problem")

    def __init__(self, arguments_max: int = ARGUMENTS_MAX) -> None:
        self.problem: str | None = None
        self.arguments_max: int = arguments_max
        self._buffer = b""
        self._at = 0
        self._request: Request = []
        self._left = 0
        self._size = 0

    @property
    def is_amid_request(self) -> bool:
        """Whether there are bytes that belong to no request that `next` has returned."""
        return self._left > 0 or self._at < len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take more bytes; call `next` until it returns None before there are more."""
        if self.problem is None:
            self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
            self._at = 0

    def next(self) -> Request | None:
        """The next request; None if it has not come whole, or if there is a problem."""
        buffer, end = self._buffer, len(self._buffer)
        while self._at < end and self.problem is None:
            if self._left:
                after = self._read_text(buffer, self._at)
            elif buffer[self._at] == _ARRAY:
                after = self._read_count(buffer, self._at)
            else:
                after = self._read_line(buffer, self._at)
            if after is None:
                break
            self._at = after
            if self._request and not self._left:
                request, self._request, self._size = self._request, [], 0
                return request
        return None

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._buffer, self._at, self._request, self._left = b"", 0, [], 0

    def _header(self, buffer: bytes, at: int, what: str) -> tuple[int, int] | None:
        """The integer of a line such as ``*2``, and where the next line begins; None if it has not come, or is none."""
        end = buffer.find(_CRLF, at, at + _HEADER_BYTES_MAX + len(_CRLF))
        if end < 0:
            if len(buffer) - at >= _HEADER_BYTES_MAX + len(_CRLF):
                self._fail(f"{what} is not a number")
            return None
        written = buffer[at + 1 : end]
        if written == b"-1":
            return -1, end + len(_CRLF)
        if not written.isdigit():
            self._fail(f"{what} is not a number")
            return None
        return (int(written) if len(written) <= _DIGITS else 10**_DIGITS), end + len(_CRLF)

    def _read_count(self, buffer: bytes, at: int) -> int | None:
        found = self._header(buffer, at, "the count of a request's texts")
        if found is None:
            return None
        count, after = found
        if count > self.arguments_max:
            if self.arguments_max == ARGUMENTS_MAX:
                self._fail(f"a request may have {NUMBERS_MAX:,} numbers: send several requests")
            else:
                self._fail("authenticate first: send AUTH with the token")
            return None
        self._left = max(0, count)  # an empty one is no request, as with Redis
        return after

    def _read_text(self, buffer: bytes, at: int) -> int | None:
        if buffer[at] != _TEXT:
            self._fail("expected '$' and the length of a text")
            return None
        found = self._header(buffer, at, "the length of a text")
        if found is None:
            return None
        length, start = found
        if not 0 <= length <= TEXT_BYTES_MAX:
            self._fail(f"a text may have 0 to {TEXT_BYTES_MAX:,} bytes")
            return None
        if self._size + length > REQUEST_BYTES_MAX:
            self._fail(f"a request may have {REQUEST_BYTES_MAX:,} bytes: send several requests")
            return None
        end = start + length
        if len(buffer) < end + len(_CRLF):
            return None
        if buffer[end : end + len(_CRLF)] != _CRLF:
            self._fail("a text is longer than its length says")
            return None
        self._request.append(buffer[start:end])
        self._left -= 1
        self._size += length
        return end + len(_CRLF)

    def _read_line(self, buffer: bytes, at: int) -> int | None:
        end = buffer.find(_LF, at, at + LINE_BYTES_MAX + len(_LF))
        if end < 0:
            if len(buffer) - at > LINE_BYTES_MAX:
                self._fail(f"a line may have {LINE_BYTES_MAX:,} bytes")
            return None
        words = words_of(buffer[at:end])
        if words is None:
            self._fail("the quotes of a line do not close")
            return None
        self._request = words
        return end + len(_LF)


def words_of(line: bytes) -> Request | None:
    r"""The words of a line, between spaces; those in quotes may have spaces. None if quotes do not close.

    >>> words_of(b'get "0812 345"  x\r'), words_of(b"get '08")
    ([b'get', b'0812 345', b'x'], None)
    """
    line = line.strip()
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: Request = []
    while line:
        quote = line[:1]
        if quote in (b'"', b"'"):
            word, closing, line = line[1:].partition(quote)
            if not closing or (line and not line[:1].isspace()):
                return None
        else:
            word = line.split(maxsplit=1)[0]
            line = line[len(word) :]
        words.append(word)
        line = line.lstrip()
    return words


def plain_keys(data: bytes) -> list[str] | None:
    r"""The keys of requests ``GET key`` where bytes are nothing else, from the first one to the last; None otherwise.

    It reads what a `RequestReader` that is not amid a request would read, quicker: most reads are so.

    >>> plain_keys(b"*2\r\n$3\r\nGET\r\n$5\r\n08123\r\n")
    ['08123']
    """
    try:
        parts = data.decode("ascii").split("\r\n")
        if len(parts) == 6:
            count, name_length, name, length, key, rest = parts
            is_get = count == "*2" and name_length == "$3" and name in _GET
            return [key] if is_get and length == _PLAIN_LENGTHS[len(key)] and not rest else None
        keys, names = parts[4::5], parts[2::5]
        number = len(keys)
        if (
            len(parts) == 5 * number + 1
            and not parts[-1]
            and parts[0::5].count("*2") == number
            and parts[1::5].count("$3") == number
            and names.count("GET") + names.count("get") == number
            and parts[3::5] == [_PLAIN_LENGTHS[length] for length in map(len, keys)]
        ):
            return keys
    except (UnicodeDecodeError, IndexError):
        pass  # other letters, or a long key
    return None


OK: Final = b"+OK\r\n"
QUEUED: Final = b"+QUEUED\r\n"
_NIL: Final[dict[ProtocolVersion, bytes]] = {2: b"$-1\r\n", 3: b"_\r\n"}


def nil(version: ProtocolVersion) -> bytes:
    """No value."""
    return _NIL[version]


def status(text: str) -> bytes:
    r"""A short text that has no line end.

    >>> status("PONG")
    b'+PONG\r\n'
    """
    return f"+{text}\r\n".encode()


def error(text: str) -> bytes:
    r"""An error: a code in capitals, a space and what is wrong, in one line.

    >>> error("ERR it is no number\n+OK")
    b'-ERR it is no number +OK\r\n'
    """
    return f"-{' '.join(text.split())}\r\n".encode(errors="replace")


def integer(number: int) -> bytes:
    r"""An integer.

    >>> integer(3)
    b':3\r\n'
    """
    return b":%d\r\n" % number


def text(value: bytes | str) -> bytes:
    r"""A text of any bytes.

    >>> text("block")
    b'$5\r\nblock\r\n'
    """
    written = value.encode() if isinstance(value, str) else value
    return b"$%d\r\n%b\r\n" % (len(written), written)


def array(replies: Sequence[bytes]) -> bytes:
    r"""An array of replies.

    >>> array([integer(1), nil(2)])
    b'*2\r\n:1\r\n$-1\r\n'
    """
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def mapping(pairs: Iterable[tuple[str, bytes]], version: ProtocolVersion) -> bytes:
    r"""Names and their replies; in version 2 an array in which they take turns.

    >>> mapping([("proto", integer(3))], 3), mapping([("proto", integer(2))], 2)
    (b'%1\r\n$5\r\nproto\r\n:3\r\n', b'*2\r\n$5\r\nproto\r\n:2\r\n')
    """
    parts = [part for name, reply in pairs for part in (text(name), reply)]
    count = len(parts) if version == 2 else len(parts) // 2
    return b"%b%d\r\n%b" % (b"*" if version == 2 else b"%", count, b"".join(parts))


def verbatim(value: str, version: ProtocolVersion) -> bytes:
    r"""A text for people to read.

    >>> verbatim("feed:id-all", 3)
    b'=15\r\ntxt:feed:id-all\r\n'
    """
    if version == 2:
        return text(value)
    written = b"txt:" + value.encode()
    return b"=%d\r\n%b\r\n" % (len(written), written)
