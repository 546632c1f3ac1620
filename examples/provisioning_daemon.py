"""An operator's provisioning daemon: syncs in the background, and carries every block and unblock into a sink.

It enforces after every sync with changes, and when an entry begins or ends by itself. If the sink is unavailable, it
tries again later, and nothing is lost. The example runs against a sandbox, which is a real exchange on this machine.
All numbers are generated.
"""

import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from blocklist_sdk import Blocklist, BlocklistError, ExchangeClient
from blocklist_sdk.enforcement import EnforcementResult, Sink, enforce, open_sink
from blocklist_sdk.recipient import SyncOutcome
from blocklist_sdk.sandbox import sandbox

SINK = "hlr"
RETRY_S = 60.0


class Daemon:
    """Enforces until `stop` is called."""

    def __init__(self, blocklist: Blocklist, sink: Sink, exchange: ExchangeClient) -> None:
        self._blocklist = blocklist
        self._sink = sink
        self._exchange = exchange
        self._wake = threading.Event()
        self._is_stopping = False
        self.rounds: list[EnforcementResult] = []

    def run(self, every: float) -> None:
        """Sync every `every` seconds, and enforce."""
        self._blocklist.add_listener(self._on_sync)
        with self._blocklist.keep_synced(every=every):
            while not self._is_stopping:
                self._wake.wait(self._once())
                self._wake.clear()

    def stop(self) -> None:
        """End after the current round."""
        self._is_stopping = True
        self._wake.set()

    def _on_sync(self, outcome: SyncOutcome) -> None:
        if outcome.result is not None and outcome.result.kind != "none":
            self._wake.set()

    def _once(self) -> float | None:
        """One round; returns how long to wait then, seconds, or None to wait for the next sync with changes."""
        if not self._blocklist.is_synced():
            return None
        try:
            done = enforce(self._blocklist, self._sink, name=SINK, receipts=self._exchange)
        except BlocklistError as error:  # the sink or the exchange is unavailable: try later
            print(f"enforcing: {error}")
            return RETRY_S
        self.rounds.append(done)
        if done.outcomes:
            print(f"release {done.serial}: {dict(done.outcomes)}")
        if done.set_aside:
            print(f"{done.set_aside} items are set aside: look at them")
        if done.next_change is None:
            return None
        return max(0.0, (done.next_change - datetime.now(UTC)).total_seconds())


def main(folder: Path) -> None:
    """Let the authority list a number and take it back, while the daemon is at work."""
    drop = (folder / "drop").as_uri()  # in production postgresql://…, redis://…, https://…
    with (
        sandbox(folder / "box", cases=10) as box,
        box.blocklist("telkomsel") as blocklist,
        box.client("telkomsel") as exchange,
        box.client("officer") as officer,
    ):
        sink = open_sink(drop, feed=blocklist.feed)
        daemon = Daemon(blocklist, sink, exchange)
        thread = threading.Thread(target=daemon.run, args=(0.3,))
        thread.start()
        case = next(case.id for case in officer.cases() if case.operator == "telkomsel")
        while officer.get_case(case).state != "published" or not daemon.rounds:
            threading.Event().wait(0.1)
        officer.decide(case, "retract", reason="It was the wrong number.")
        while not any("reversed" in done.outcomes for done in daemon.rounds):
            threading.Event().wait(0.1)
        daemon.stop()
        thread.join()
        sink.close()
        print(f"files for provisioning: {sorted(path.name.split('.')[2] for path in (folder / 'drop').glob('*.csv'))}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
