"""Cursors: the place in a list where a page ended, sealed so that only what this exchange gave out is taken."""

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final

CURSOR_CHARS_MAX: Final = 64

_SEAL_BYTES: Final = 16


class ForeignCursor(ValueError):
    """A cursor was not given out by this exchange for this list."""


class Cursors:
    """Writes and reads cursors.

    A cursor holds the position of a page's last item, some integers of 64 bits, and a seal: an HMAC over the list's
    name and the position. Whatever is changed in a cursor makes it foreign.

    >>> cursors = Cursors(b"a secret key")
    >>> cursors.read("cases", cursors.write("cases", (1, 7)), 2)
    (1, 7)
    """

    def __init__(self, key: bytes) -> None:
        """Takes a key that all processes of the exchange share."""
        self._key = key

    def write(self, name: str, position: tuple[int, ...]) -> str:
        """The cursor of a position in a list.

        Args:
            name: the list's name.
            position: integers of 64 bits, with a sign.
        """
        packed = struct.pack(f">{len(position)}q", *position)
        return base64.urlsafe_b64encode(self._seal(name, packed) + packed).decode().rstrip("=")

    def read(self, name: str, cursor: str, parts: int) -> tuple[int, ...]:
        """The position that a cursor holds.

        Args:
            name: the list's name.
            cursor: what `write` returned.
            parts: the number of integers of a position in this list.

        Raises:
            ForeignCursor: it was not given out here for this list.
        """
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise ForeignCursor from error
        seal, packed = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if len(packed) != 8 * parts or not hmac.compare_digest(seal, self._seal(name, packed)):
            raise ForeignCursor
        position = struct.unpack(f">{parts}q", packed)
        # Base64 has several texts for the same bytes; one of them was given out.
        if cursor != self.write(name, position):
            raise ForeignCursor
        return position

    def _seal(self, name: str, packed: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + packed, hashlib.sha256)[:_SEAL_BYTES]
