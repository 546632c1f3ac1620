"""A PostgreSQL server for one test session, from the programs that are installed."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from support.quick_disk import disk

_USER = "postgres"
"""PostgreSQL refuses to run as root."""

_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200")
"""A test needs no durability, except the load test, which measures its cost."""


class NoPostgres(Exception):
    """PostgreSQL cannot be started here; the message says why."""


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in reversed(folders):
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return folder
    raise NoPostgres("PostgreSQL's initdb and postgres are not installed")


def _user() -> str | None:
    """The user that runs the server; None for the user that runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        raise NoPostgres(f"PostgreSQL does not run as root, and the user {_USER!r} does not exist") from None
    return _USER


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[str]:
    """Start a server in a folder of its own.

    Args:
        durable: keep what is committed through a power cut, as in production.

    Yields:
        The URL of its database ``postgres``.

    Raises:
        NoPostgres: it cannot be started here.
    """
    programs, user = _programs(), _user()
    groups: list[str] | None = [] if user else None
    # A short path, for its socket.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=disk() if durable else None))
    process = None
    try:
        if user is not None:
            shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        data = folder / "data"
        command: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            _USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        made = subprocess.run(
            command, user=user, group=user, extra_groups=groups, cwd=folder, capture_output=True, text=True
        )
        if made.returncode != 0:
            raise NoPostgres(f"initdb failed: {made.stderr.strip()}")
        port = _free_port()
        options = [part for each in (() if durable else _QUICK) for part in ("-c", each)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port), *options],
                user=user,
                group=user,
                extra_groups=groups,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        url = f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
        _wait(url, process, folder / "log")
        yield url
    finally:
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NoPostgres(f"postgres does not come up: {log.read_text(errors='replace').strip()[-500:]}")


def database_url(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"


def run_sql(url: str, statement: str) -> None:
    """Run one statement outside any transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
