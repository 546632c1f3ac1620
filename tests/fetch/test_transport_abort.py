"""A download that is cut from another thread."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blocklist_sdk.fetch.stopping import StopSignal, SyncStopped
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from support.loopback import Handler, answering
from support.waiting import until

PATIENT = TransportSettings(read_timeout_s=600, minimum_rate_window_s=600, retry_after_wait_max_s=600)


def silent(handler: Handler) -> bool:
    return handler.stopped.wait(600)


def half(handler: Handler) -> bool:
    return handler.hang()


def without_length(handler: Handler) -> bool:
    """A body that ends with its connection, so that a cut looks like an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"0123456789")
    handler.wfile.flush()
    handler.close_connection = True
    return handler.stopped.wait(600)


def busy(handler: Handler) -> bool:
    """The request is answered at once, and the body never ends."""
    return handler.fail(503, retry_after="600")


def endless(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000000000")
    handler.end_headers()
    while not handler.stopped.is_set():
        handler.wfile.write(b"\0" * 65536)
    return True


@pytest.mark.timing
@pytest.mark.parametrize("step_in", [silent, half, without_length, busy, endless])
@pytest.mark.parametrize("kind", ["get", "download"])
def test_abort_ends_what_another_thread_fetches(step_in: Callable[[Handler], bool], kind: str, tmp_path: Path) -> None:
    ended: list[BaseException] = []
    with answering(tmp_path, step_in) as (url, asked), Transport(settings=PATIENT) as transport:

        def fetch() -> None:
            try:
                if kind == "get":
                    transport.get(f"{url}/file", max_bytes=1 << 50)
                else:
                    transport.download(f"{url}/file", tmp_path / "copy", length=1 << 50)
            except BaseException as error:  # noqa: BLE001
                ended.append(error)

        thread = threading.Thread(target=fetch)
        thread.start()
        until(lambda: bool(asked))
        time.sleep(0.1)
        transport.abort()
        # Far less than the download would take, and far more than the abort needs.
        thread.join(120)
        assert not thread.is_alive()
    assert [type(error) for error in ended] == [SyncStopped]


def test_an_aborted_transport_asks_for_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    with answering(tmp_path) as (url, asked), Transport() as transport:
        transport.abort()
        for address in (f"{url}/file", (tmp_path / "file").as_uri()):
            with pytest.raises(SyncStopped):
                transport.get(address, max_bytes=10)
        assert asked == []


def test_a_file_is_cut_between_its_chunks(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"\0" * (3 << 20))
    with Transport(settings=TransportSettings()) as transport:
        read = transport._read

        def abort_soon(*arguments: object) -> object:
            for chunk in read(*arguments):  # type: ignore[arg-type]
                transport.abort()
                yield chunk

        transport._read = abort_soon  # type: ignore[method-assign, assignment]
        with pytest.raises(SyncStopped):
            transport.download(source.as_uri(), tmp_path / "copy", length=3 << 20)


def test_a_signal_that_was_given_before_calls_at_once() -> None:
    stop, called = StopSignal(), list[str]()
    with stop.callback(lambda: called.append("during")):
        stop.set()
    with stop.callback(lambda: called.append("late")):
        pass
    stop.set()
    assert called == ["during", "late"]
