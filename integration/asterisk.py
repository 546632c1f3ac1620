"""Asterisk with the example configuration, as it is but for ports and addresses.

Debian 12 has no Asterisk. Where it is in another Debian, in a folder of its own, the variable `ROOT` names that folder.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from integration.neighbours import Neighbour, free_port, missing, program, running
from integration.services import Service
from integration.sip import answers

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "gateways" / "asterisk"

ROOT: Final = "BLOCKLIST_ASTERISK_ROOT"

_DIRECTORIES: Final = ("astvarlibdir", "astdbdir", "astkeydir", "astspooldir", "astrundir", "astlogdir")
"""Where it writes."""


class Asterisk:
    """A running Asterisk. Made by `asterisk`.

    Attributes:
        port: where it takes SIP over UDP, on loopback.
        process: the process.
    """

    def __init__(self, port: int, process: Neighbour) -> None:
        self.port = port
        self.process = process


def _prefix() -> tuple[list[str], Path]:
    """What stands before the command, and the folder that is its root."""
    root = Path(os.environ.get(ROOT, "/"))
    if root == Path("/"):
        program(
            "asterisk", package=f"Debian's asterisk (not in Debian 12; {ROOT} may name a folder with another Debian)"
        )
        return [], root
    if not (root / "usr/sbin/asterisk").exists():
        missing(f"{ROOT} names {root}, which has no usr/sbin/asterisk")
    if os.geteuid() != 0:
        missing(f"{ROOT} is set, and only root may change the root of a process")
    return [str(program("chroot", package="Debian's coreutils")), str(root)], root


@contextlib.contextmanager
def asterisk(
    *, next_hop: int, asked: Service, changes: Mapping[str, str], recordings: Mapping[str, bytes] | None = None
) -> Iterator[Asterisk]:
    """Start it.

    Args:
        next_hop: the port on loopback to which it passes calls.
        asked: what it asks, by HTTP.
        changes: texts of the example's files, and what is put in their place; ``@FOLDER@`` in it is its folder.
        recordings: files in that folder: names and contents.
    """
    prefix, root = _prefix()
    modules = next(iter(sorted(root.glob("usr/lib/*/asterisk/modules"))), None)
    if modules is None:
        missing("Asterisk's modules are not installed: Debian's asterisk-modules has them")
    port = free_port(socket.SOCK_DGRAM)
    texts = {
        "bind=127.0.0.1:5060": f"bind=127.0.0.1:{port}",
        "contact=sip:127.0.0.1:5070": f"contact=sip:127.0.0.1:{next_hop}",
        "http://127.0.0.1:8044": f"http://127.0.0.1:{asked.port}",
        **changes,
    }
    inside = Path("/tmp") / f"blocklist-{uuid4().hex[:8]}"
    folder = root / inside.relative_to("/")
    folder.mkdir(mode=0o700)
    try:
        for path in EXAMPLE.glob("*.conf"):
            text = path.read_text(encoding="utf-8")
            for before, after in texts.items():
                text = text.replace(before, after.replace("@FOLDER@", str(inside)))
            (folder / path.name).write_text(text, encoding="utf-8")
        for name, recorded in (recordings or {}).items():
            (folder / name).write_bytes(recorded)
        directories = {"astetcdir": inside, **dict.fromkeys(_DIRECTORIES, inside)}
        directories |= {"astmoddir": Path("/") / modules.relative_to(root), "astdatadir": Path("/usr/share/asterisk")}
        lines = ["[directories]", *(f"{name} => {path}" for name, path in directories.items())]
        (folder / "asterisk.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        (folder / "logger.conf").write_text("[general]\n[logfiles]\nconsole => notice,warning,error,verbose\n")
        server = "asterisk" if prefix else str(program("asterisk", package="Debian's asterisk"))
        command = [*prefix, server, "-f", "-n", "-C", str(inside / "asterisk.conf")]
        with running(command, folder=folder, name="asterisk", ready=lambda: answers(port)) as process:
            yield Asterisk(port, process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
