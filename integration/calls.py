"""Calls through a gateway, as every gateway must treat them."""

from collections.abc import Sequence
from typing import Final

from integration.sip import Response, caller

TRUNK: Final = "127.0.0.2"
"""The address of the trunk whose P-Asserted-Identity counts."""


def call(
    gateway: int, user: str, *, asserted: str | None = None, method: str = "INVITE", headers: Sequence[str] = ()
) -> Response:
    """Call through the gateway at a port of loopback; from the trunk, if an identity is asserted.

    Args:
        gateway: the port.
        user: the part before ``@`` in From, or a whole ``tel:`` URI.
        asserted: the value of ``P-Asserted-Identity``; None for no such header.
        method: ``INVITE`` or ``MESSAGE``.
        headers: more headers, as lines.
    """
    with caller(gateway, address=TRUNK if asserted else "127.0.0.1") as client:
        uri = user if user.startswith("tel:") else f"sip:{user}@trunk.example"
        return client.call(uri, asserted=asserted, method=method, headers=headers)


def spellings(number: str) -> list[str]:
    """How one number stands in From: international, national, dialled abroad, and with what trunks add."""
    national = "0" + number.removeprefix("62")
    return [
        f"+{number}",
        number,
        national,
        f"00{number}",
        f"%2B{number}",
        f"+{number};npdi",
        f"{national};phone-context=+62",
        f"{national[:4]}-{national[4:8]}-{national[8:]}",
        f"tel:+{number}",
        f"tel:+{number[:2]}-{number[2:5]}-{number[5:]}",
    ]
