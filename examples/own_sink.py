"""A sink of your own: a voice firewall that reads its rules from a file, and the contract of a sink run against it.

All numbers are generated.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blocklist_sdk.enforcement import Batch, HeldItem, Outcome, SinkChange
from blocklist_sdk.testing import Item, check_sink, make_batch

EMERGENCY = range(6281299990110, 6281299990120)
"""Numbers that this firewall never blocks."""


class FirewallSink:
    """Keeps the items of a feed in one file of rules, which the firewall loads whenever it is replaced."""

    def __init__(self, directory: Path, *, feed: str) -> None:
        self.path = directory / f"{feed}.rules.json"

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Enforce a whole batch in one step: the file is replaced."""
        rules = self._rules()
        outcomes = [self._do(change, rules) for change in batch]
        temporary = self.path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"last batch": batch.number_in_ledger, "rules": rules}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        return outcomes

    def current(self) -> Iterator[HeldItem]:
        """Every item that the sink holds, so that it can be reconciled."""
        for number, (last, scope) in self._rules().items():
            yield HeldItem(int(number), last, tuple(scope))

    def applied(self) -> int | None:
        """The number of the last batch; it is in the same file as the rules, so it is right after a crash."""
        return json.loads(self.path.read_bytes())["last batch"] if self.path.exists() else None

    def close(self) -> None:
        """There are no connections to release."""

    def _do(self, change: SinkChange, rules: dict[str, tuple[int, Sequence[str]]]) -> Outcome:
        if change.operation == "unblock":
            rules.pop(str(change.number), None)
            return Outcome("reversed")
        if change.number in EMERGENCY:
            return Outcome("refused", "an emergency number")
        rules[str(change.number)] = (change.last, change.scope)
        return Outcome("enforced")

    def _rules(self) -> dict[str, tuple[int, Sequence[str]]]:
        return json.loads(self.path.read_bytes())["rules"] if self.path.exists() else {}


def open_sink(url: str, *, feed: str) -> FirewallSink:
    """The plug-in: in pyproject.toml, [project.entry-points."blocklist_sdk.sinks"] firewall = "own_sink:open_sink"."""
    return FirewallSink(Path(unquote(urlsplit(url).path)), feed=feed)


def main(folder: Path) -> None:
    """Run the contract, and a batch."""
    check_sink(lambda feed: open_sink(folder.as_uri(), feed=feed), refuses=EMERGENCY[2])
    print("the contract is kept")

    sink = open_sink(folder.as_uri(), feed="id-telkomsel")
    batch = make_batch(
        "block", [6281200000001, EMERGENCY[2], Item(6281200000200, last=6281200000299)], feed="id-telkomsel"
    )
    for change, outcome in zip(batch, sink.apply(batch), strict=True):
        print(f"+{change.number}", outcome.kind, outcome.detail)
    print(len(list(sink.current())), "rules")
    sink.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
