"""How many connections a server takes, and who gives way when there are too many. Decides only, without I/O.

Each connection takes a file of the process, and what it asks for may take another one. Publishing and the database need
files as well. So the number of connections follows from how many files the process may open, and one address or network
gets a part of it only.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

FILES_KEPT: Final = 256
"""Files kept for publishing, the database, and evidence on its way in."""

CONNECTIONS_MAX: Final = 4_000
"""Most connections, however many files there may be: each takes up to 0.1 MB of memory before its body counts."""

ADDRESS_SHARE: Final = 8
NETWORK_SHARE: Final = 4
"""One IPv4 address or IPv6 network of 64 bits gets an eighth of all connections, one of 48 bits a quarter. Sites get
48 bits (RFC 6177)."""

HEAD_PATIENCE_S: Final = 1.0
"""How long a connection may take to send the head of a request before it gives way to others, seconds."""

_LEAST: Final = 8
_ALL: Final = ""
"""The group of all connections."""

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Most connections at a time.

    Attributes:
        total: of all.
        of_address: of one IPv4 address, or one IPv6 network of 64 bits.
        of_network: of one IPv6 network of 48 bits.
    """

    total: int
    of_address: int
    of_network: int


def connection_limits(files: int) -> ConnectionLimits:
    """The limits for a process that may open so many files.

    >>> connection_limits(16_384)
    ConnectionLimits(total=4000, of_address=500, of_network=1000)
    >>> connection_limits(1_024)
    ConnectionLimits(total=384, of_address=48, of_network=96)
    """
    kept = min(FILES_KEPT, files // 2)
    total = max(_LEAST, min(CONNECTIONS_MAX, (files - kept) // 2))
    return ConnectionLimits(total, max(_LEAST, total // ADDRESS_SHARE), max(_LEAST, total // NETWORK_SHARE))


def groups_of(address: str) -> tuple[str, ...]:
    """What connections of an address are counted with, apart from all; empty if it is not an IP address.

    >>> groups_of("192.0.2.7"), groups_of("::ffff:192.0.2.7")
    (('192.0.2.7',), ('192.0.2.7',))
    >>> groups_of("2001:db8:1:2::7")
    ('2001:db8:1:2::/64', '2001:db8:1::/48')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ()
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if isinstance(parsed, ipaddress.IPv4Address):
        return (str(parsed),)
    return tuple(str(ipaddress.ip_network((int(parsed), bits), strict=False)) for bits in (64, 48))


@dataclass(frozen=True, slots=True)
class Admission(Generic[C]):
    """Whether a connection is taken.

    Attributes:
        is_taken: whether it is.
        gives_way: the connection to be closed for it; None if there was room.
    """

    is_taken: bool
    gives_way: C | None = None


class ConnectionTable(Generic[C]):
    """All connections of a server, and what each is doing: it waits for a head, it is busy, or it is idle.

    A connection is idle between two requests. Where there is no more room, the one that has been idle for longest gives
    way, and then the one that has waited for a head for longest, if that is more than `HEAD_PATIENCE_S`.

    >>> table = ConnectionTable[str](ConnectionLimits(total=8, of_address=2, of_network=4))
    >>> [table.enter(name, "192.0.2.7", now=0.0).is_taken for name in "abc"]
    [True, True, False]
    >>> table.set_idle("b")
    >>> table.enter("c", "192.0.2.7", now=0.0)
    Admission(is_taken=True, gives_way='b')
    """

    def __init__(self, limits: ConnectionLimits, is_proxy: Callable[[str], bool] = lambda address: False) -> None:
        """A table without connections.

        Args:
            limits: most connections.
            is_proxy: whether an address is that of a trusted proxy, whose connections count for the total only.
        """
        self.limits = limits
        self._is_proxy = is_proxy
        self._groups: dict[C, tuple[str, ...]] = {}
        self._counts: Counter[str] = Counter()
        self._idle: dict[str, dict[C, None]] = {}
        self._heads: dict[str, dict[C, float]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def enter(self, connection: C, address: str, *, now: float) -> Admission[C]:
        """Take a new connection, which waits for a head, if there is room or another one gives way.

        Args:
            connection: the connection.
            address: its other end.
            now: this moment, in seconds of a clock that only goes forward.
        """
        groups = (_ALL, *(() if self._is_proxy(address) else groups_of(address)))
        full = [group for group in groups if self._counts[group] >= self._most(group)]
        victim = None
        if full:
            # Where the narrowest group is full, one of its own gives way, and with it the wider ones have room.
            victim = self._who_gives_way(full[-1], now)
            if victim is None or not all(group in self._groups[victim] for group in full):
                return Admission(is_taken=False)
            self.leave(victim)
        self._groups[connection] = groups
        self._counts.update(groups)
        self.set_waiting(connection, now=now)
        return Admission(is_taken=True, gives_way=victim)

    def set_waiting(self, connection: C, *, now: float) -> None:
        """Note that a connection waits for a head since now."""
        self.set_busy(connection)
        for group in self._groups.get(connection, ()):
            self._heads.setdefault(group, {})[connection] = now

    def set_busy(self, connection: C) -> None:
        """Note that a connection has a request under way."""
        for group in self._groups.get(connection, ()):
            for known in (self._idle, self._heads):
                if group in known:
                    known[group].pop(connection, None)

    def set_idle(self, connection: C) -> None:
        """Note that a connection is idle from now on."""
        self.set_busy(connection)
        for group in self._groups.get(connection, ()):
            self._idle.setdefault(group, {})[connection] = None

    def leave(self, connection: C) -> None:
        """Forget a connection; one that is not known is no error."""
        self.set_busy(connection)
        for group in self._groups.pop(connection, ()):
            self._counts[group] -= 1
            if not self._counts[group]:
                for known in (self._counts, self._idle, self._heads):
                    known.pop(group, None)

    def _most(self, group: str) -> int:
        if group == _ALL:
            return self.limits.total
        return self.limits.of_network if group.endswith("/48") else self.limits.of_address

    def _who_gives_way(self, group: str, now: float) -> C | None:
        idle = next(iter(self._idle.get(group, ())), None)
        if idle is not None:
            return idle
        waiting, since = next(iter(self._heads.get(group, {}).items()), (None, now))
        return waiting if now - since > HEAD_PATIENCE_S else None
