"""How commands end that run until they are told to stop."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def until_told() -> Iterator[None]:
    """Ctrl-C and SIGTERM, which service managers and containers send, end the block; what it holds is cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
