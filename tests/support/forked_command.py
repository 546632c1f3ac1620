"""A `blocklist` for shells that starts at once: it forks from a process that has imported everything.

It is for tests that run many commands in a shell, where neither the start of the process nor what it imports matters.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    what = [sys.argv[1:], os.getcwd(), dict(os.environ)]
    socket.send_fds(server, [json.dumps(what).encode()], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    code = server.recv(16)
os._exit(int(code))
"""


@contextlib.contextmanager
def forked_command(directory: Path) -> Iterator[Path]:
    """Yields a folder for the PATH, with the program."""
    address = str(directory / "blocklist.socket")
    folder = directory / "bin"
    folder.mkdir()
    program = folder / "blocklist"
    program.write_text(_PROGRAM.format(python=sys.executable, address=address))
    program.chmod(0o755)
    command = [sys.executable, "-m", "support.forked_command", address]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline()
            yield folder
        finally:
            server.terminate()


def _serve(address: str) -> None:
    import blocklist_sdk.publisher.publisher
    import blocklist_sdk.recipient.blocklist  # noqa: F401 -- for all that are forked
    from blocklist_sdk.cli import app

    for panel in app.PANELS.values():
        for name in panel:
            app.import_command(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                with server, client:
                    _answer(client)
                os._exit(0)
            client.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(client: socket.socket) -> None:
    """Run a command in a child, and send its exit code."""
    data, streams, _, _ = socket.recv_fds(client, 1 << 16, 3)
    while more := client.recv(1 << 16):
        data += more
    child = os.fork()
    if child == 0:
        _run(*json.loads(data), streams=streams)
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(str(code if code >= 0 else 128 - code).encode())


def _run(arguments: list[str], directory: str, environment: dict[str, str], *, streams: list[int]) -> None:
    from blocklist_sdk.cli import main

    code: object = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False)  # noqa: SIM115 -- as long as the process
            for number, mode in enumerate(("r", "w", "w"))
        )
        os.chdir(directory)
        os.environ.clear()
        os.environ |= environment
        sys.argv = ["blocklist", *arguments]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve(sys.argv[1])
