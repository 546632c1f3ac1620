"""What a sink is: the recipient's system in which changes are enforced."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args, runtime_checkable

from blocklist_sdk.enforcement.items import Batch as Batch
from blocklist_sdk.enforcement.items import SinkChange as SinkChange

OutcomeKind = Literal["enforced", "already-inactive", "not-ours", "recycled", "refused", "failed", "reversed"]
"""As receipts say it."""

KINDS: Final = get_args(OutcomeKind)

DETAIL_CHARS_MAX: Final = 1000
"""Of an outcome's detail, which goes into a receipt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one change.

    Attributes:
        kind: ``enforced`` or, of an unblock, ``reversed``: done, or so already. ``already-inactive``, ``not-ours``,
            ``recycled``: there is nothing to be blocked. ``refused``: the sink will not. ``failed``: not now, so it is
            tried again.
        detail: why, in a few words; no personal data.
        pending: of a ``failed`` one: it has been handed over, and is not answered yet. Nobody knows what comes of it,
            so it is asked for again, which hands nothing over twice; it does not count as a try.
    """

    kind: OutcomeKind
    detail: str = ""
    pending: bool = False


DONE: Final = Outcome("enforced")
LIFTED: Final = Outcome("reversed")
PENDING: Final = Outcome("failed", "handed over, not answered yet", pending=True)


class Same(Sequence[Outcome]):
    """The same outcome for every change of a batch.

    >>> len(Same(DONE, 3)), Same(DONE, 3)[2].kind
    (3, 'enforced')
    """

    def __init__(self, outcome: Outcome, count: int) -> None:
        self.outcome = outcome
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Outcome:  # type: ignore[override]
        if not 0 <= place < self._count:
            raise IndexError(place)
        return self.outcome


def all_done(batch: Batch) -> Same:
    """Every change of the batch is done."""
    return Same(LIFTED if batch.operation == "unblock" else DONE, len(batch))


class SinkUnavailable(Exception):
    """The sink cannot be reached, or fails as a whole: nothing is known of the batch, which is tried again later.

    Attributes:
        retry_after: seconds that the sink asks to wait; None where it does not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class HeldItem:
    """What a sink holds of one number or run of numbers.

    Attributes:
        number: the first number.
        last: the last one; the same for a single number.
        scope: where it is blocked.
    """

    number: int
    last: int
    scope: tuple[str, ...]


@runtime_checkable
class Sink(Protocol):
    """A system in which changes are enforced. One thread uses it at a time.

    What it holds is keyed by the first number of an item: to block what is blocked already is to replace it, to unblock
    what is not is nothing. So the same change may come twice, as after a crash, and does no harm.
    """

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Enforce the changes of a batch, durably, and say what came of each, in their order.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """

    def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class ReadableSink(Protocol):
    """A sink that can be read, so that it can be reconciled."""

    def current(self) -> Iterator[HeldItem]:
        """Everything that it holds of the feed, in any order.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """


@runtime_checkable
class TransactionalSink(Protocol):
    """A sink that keeps the number of the last batch in the same transaction as what it holds: exactly once."""

    def applied(self) -> int | None:
        """`number_in_ledger` of the last batch of which every change was done; None where there was none.

        A batch of which a change was refused or failed is not said to be applied, since nobody would then know which.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """
