"""Kamailio with the example configuration, as it is: only ports, paths and addresses are set, from the command line."""

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from integration.neighbours import Neighbour, free_port, installed_file, program, running
from integration.services import PREFIX, Service

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "gateways" / "kamailio"

CARD: Final = "https://complaints.example/redress.jws"
TRUNK: Final = "127.0.0.2"
"""The address of the trunk whose P-Asserted-Identity counts."""

MODULES: Final[Mapping[str, tuple[str, str]]] = {
    "SINK": ("ndb_redis.so", "kamailio-redis-modules"),
    "REDIS": ("ndb_redis.so", "kamailio-redis-modules"),
    "HTTP": ("http_client.so", "kamailio-utils-modules"),
}
"""For each way to ask, the module that it needs, and Debian's package of it."""


def defines(asked: Service) -> dict[str, str]:
    """The example's definitions for what it asks."""
    values = {"BLOCKLIST_CARD": f'"{CARD}"', "BLOCKLIST_TRUNKS": f'"192.0.2.0/24,{TRUNK}/32"', "BLOCKLIST_PAUSE_S": "1"}
    if asked.way == "HTTP":
        return values | {"BLOCKLIST_HTTP": f'"blocklist=>http://127.0.0.1:{asked.port}"'}
    values["BLOCKLIST_REDIS"] = f'"name=blocklist;addr=127.0.0.1;port={asked.port};db=0"'
    return values | ({"BLOCKLIST_KEYS": f'"{PREFIX}"', "BLOCKLIST_COUNTRY": '"62"'} if asked.way == "SINK" else {})


class Kamailio:
    """A running Kamailio. Made by `kamailio`.

    Attributes:
        port: where it takes SIP over UDP, on loopback.
        process: the process.
    """

    def __init__(self, port: int, process: Neighbour, control: str) -> None:
        self.port = port
        self.process = process
        self._control = control

    def statistic(self, name: str) -> int:
        """The value of one of the example's counters."""
        ran = subprocess.run(
            [program("kamcmd", package="Debian's kamailio"), "-s", self._control, "stats.fetch", f"script.{name}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        found = re.search(rf"{name}: (\d+)", ran.stdout)
        assert found, ran.stdout
        return int(found[1])


@contextlib.contextmanager
def kamailio(
    folder: Path, way: str, *, next_hop: int, defines: Mapping[str, str], memory_mb: int = 64
) -> Iterator[Kamailio]:
    """Start it.

    Args:
        folder: a folder of its own.
        way: how it asks: a key of `MODULES`.
        next_hop: the port on loopback to which it relays.
        defines: names of the example's ``#!trydef`` and their values.
        memory_mb: shared memory, which holds calls for some seconds after their end.
    """
    server = program("kamailio", package="Debian's kamailio")
    module, package = MODULES[way]
    installed_file(f"usr/lib/*/kamailio/modules/{module}", package=f"Debian's {package}")
    port = free_port(socket.SOCK_DGRAM)
    control = f"unix:{folder}/ctl"
    values = {
        "LISTEN": f"udp:127.0.0.1:{port}",
        "NEXT_HOP": f'"sip:127.0.0.1:{next_hop}"',
        "CONTROL": f'"{control}"',
        **defines,
    }
    command: list[str | Path] = [
        server,
        "-f",
        EXAMPLE / "kamailio.cfg",
        "-DD",
        "-E",
        "-Y",
        folder,
        "-m",
        str(memory_mb),
    ]
    command += ["-m", str(memory_mb), "-A", f"BLOCKLIST_WITH_{way}"]
    command += [word for name, value in values.items() for word in ("-A", f"{name}={value}")]
    with running(command, folder=folder, name="kamailio", ready=lambda: answers(port)) as process:
        yield Kamailio(port, process, control)


def answers(port: int) -> bool:
    """Whether it answers OPTIONS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*channel.getsockname())
        lines = [
            "OPTIONS sip:gateway.example SIP/2.0",
            f"Via: SIP/2.0/UDP {address};branch=z9hG4bKready;rport",
            "From: <sip:ready@example>;tag=1",
            "To: <sip:gateway.example>",
            "Call-ID: ready@example",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        channel.settimeout(0.2)
        try:
            channel.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", port))
            return channel.recv(4096).startswith(b"SIP/2.0 200 ")
        except OSError:  # nothing listens there yet, or it does not answer yet
            return False
