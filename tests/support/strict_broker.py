"""A Kafka broker that knows no account: it speaks as much of the protocol as is needed to refuse a password."""

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator

_SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 17, 18, 36
_VERSIONS = {_API_VERSIONS: 0, _SASL_HANDSHAKE: 1, _SASL_AUTHENTICATE: 0, 3: 4}
_UNSUPPORTED_VERSION, _SASL_AUTHENTICATION_FAILED = 35, 58


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _answer_to(api: int, version: int) -> bytes:
    if api == _API_VERSIONS:
        error = _UNSUPPORTED_VERSION if version > 0 else 0
        known = b"".join(struct.pack(">hhh", each, 0, highest) for each, highest in _VERSIONS.items())
        return struct.pack(">hi", error, len(_VERSIONS)) + known
    if api == _SASL_HANDSHAKE:
        return struct.pack(">hi", 0, 1) + _text(b"PLAIN")
    return struct.pack(">h", _SASL_AUTHENTICATION_FAILED) + _text(b"wrong password") + struct.pack(">i", 0)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while head := self.rfile.read(4):
                request = self.rfile.read(struct.unpack(">i", head)[0])
                api, version, correlation = struct.unpack(">hhi", request[:8])
                answer = struct.pack(">i", correlation) + _answer_to(api, version)
                self.wfile.write(struct.pack(">i", len(answer)) + answer)
                if api == _SASL_AUTHENTICATE:
                    return


class _Broker(socketserver.ThreadingTCPServer):
    daemon_threads = True
    address_family = socket.AF_INET


@contextlib.contextmanager
def strict_broker() -> Iterator[str]:
    """Yields its address."""
    with _Broker(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
