"""The settings of a look-up server: what `blocklist serve` was asked for."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.addresses import is_loopback
from blocklist_sdk.net.server_tls import TlsFiles

PORT: Final = 8044
REDIS_PORT: Final = 6044

WORKERS_MAX: Final = 256
"""More workers than any machine here has processors."""

TOKEN_CHARS_MIN: Final = 16
"""A shorter token can be guessed over a network."""

_TOKEN: Final = re.compile(rf"[A-Za-z0-9._~+/-]{{{TOKEN_CHARS_MIN},}}=*")
"""What a header can carry (RFC 6750, 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What a look-up server listens on, and whom it answers.

    Attributes:
        host: the address of the HTTP door.
        port: its port; 0 takes a free one; None if there is no such door.
        uds: the path of the Unix socket of the HTTP door; None if there is none.
        redis_port: the port of the Redis door; 0 takes a free one; None if there is no such door.
        redis_host: its address.
        workers: how many processes answer.
        token: what clients must show, except over the Unix socket; None if they need not.
        tls: certificates of the doors over TCP; None for plain text.
        watch_every_s: seconds between two syncs in the parent process; None if it does not sync.
        require_fresh: whether questions are refused past the list's signed expiry.
    """

    host: str = "127.0.0.1"
    port: int | None = PORT
    uds: Path | None = None
    redis_port: int | None = None
    redis_host: str = "127.0.0.1"
    workers: int = 1
    token: str | None = None
    tls: TlsFiles | None = None
    watch_every_s: float | None = None
    require_fresh: bool = False

    def check(self) -> None:
        """Check that there is a door, and that clients show something wherever other machines reach it.

        Raises:
            InvalidInput: there is no door; or a door is open to other machines, and clients show nothing.
        """
        if self.port is None and self.uds is None and self.redis_port is None:
            raise InvalidInput("nothing to listen on: give a port, a Unix socket or a Redis port")
        if not 1 <= self.workers <= WORKERS_MAX:
            raise InvalidInput(f"the number of workers must be from 1 to {WORKERS_MAX}, not {self.workers}")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise InvalidInput(
                f"the token must have at least {TOKEN_CHARS_MIN} characters, of letters, digits and -._~+/=: make one "
                "with `openssl rand -hex 32`"
            )
        if self.is_protected:
            return
        for is_open, address in ((self.port is not None, self.host), (self.redis_port is not None, self.redis_host)):
            if is_open:
                self.check_address(address)

    def check_address(self, address: str, host: str | None = None) -> None:
        """Check that only this machine reaches an address, unless clients must show something.

        Args:
            address: the address, or the name of this machine on itself.
            host: the name that it was found for.

        Raises:
            InvalidInput: other machines reach it, and clients show nothing.
        """
        if self.is_protected or is_loopback(address):
            return
        shown = address if host in (None, address) else f"{host} is {address} here, which"
        raise InvalidInput(
            f"{shown} can be reached from other machines, and whoever reaches it could ask: give --token-file, or "
            "--tls-cert, --tls-key and --client-ca, or listen on 127.0.0.1"
        )

    @property
    def is_protected(self) -> bool:
        """Whether clients must show something: a token, or a certificate."""
        return self.token is not None or (self.tls is not None and self.tls.client_ca is not None)
