"""The interface of a sink: the recipient's system in which changes are enforced."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args, runtime_checkable

from blocklist_sdk.enforcement.items import Batch, Operation

_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
"""Characters that a text of one line must not have, each with a space in its place."""


OutcomeKind = Literal["enforced", "already-inactive", "not-ours", "recycled", "refused", "failed", "reversed"]
"""The outcomes that a receipt can have."""

OUTCOME_KINDS: Final = get_args(OutcomeKind)

DETAIL_CHARS_MAX: Final = 1000
"""The longest detail of an outcome that fits into a receipt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one change.

    Attributes:
        kind: ``enforced``, or ``reversed`` for an unblock: done, or done before. ``already-inactive``, ``not-ours``,
            ``recycled``: there is nothing to block. ``refused``: the sink will not do it. ``failed``: not now; the next
            run tries again.
        detail: why, in a few words; no personal data.
        pending: for ``failed``: the change was handed over, but there is no answer yet. The next run asks again, which
            must not hand it over twice. It does not count as a failure.
    """

    kind: OutcomeKind
    detail: str = ""
    pending: bool = False


DONE: Final = Outcome("enforced")
LIFTED: Final = Outcome("reversed")
PENDING: Final = Outcome("failed", "handed over, not answered yet", pending=True)


def plain(text: str) -> str:
    r"""The text on one line, and no longer than a receipt allows.

    >>> plain("not a\nsubscriber")
    'not a subscriber'
    """
    return text.translate(_CONTROL).strip()[:DETAIL_CHARS_MAX]


# Writing


class UniformOutcomes(Sequence[Outcome]):
    """The same outcome for every change of a batch.

    >>> len(UniformOutcomes(DONE, 3)), UniformOutcomes(DONE, 3)[2].kind
    (3, 'enforced')
    """

    def __init__(self, outcome: Outcome, count: int) -> None:
        self.outcome = outcome
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Outcome:  # type: ignore[override]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self.outcome


def all_done(batch: Batch) -> UniformOutcomes:
    """The outcomes of a batch of which every change was done."""
    return UniformOutcomes(LIFTED if batch.operation == "unblock" else DONE, len(batch))


def done_except(batch: Batch, refused: Mapping[int, str]) -> Sequence[Outcome]:
    """The outcomes of a batch of which some changes were refused: the reasons, by index."""
    outcomes = all_done(batch)
    if not refused:
        return outcomes
    return [Outcome("refused", refused[index]) if index in refused else done for index, done in enumerate(outcomes)]


def outcome_of_word(word: str, detail: str, *, operation: Operation, source: str) -> Outcome:
    """The outcome that another system means by a word.

    Args:
        word: the word; ``enforced`` is understood for an unblock, too.
        detail: the detail.
        operation: what the system was asked to do.
        source: what has the word, for the detail if it makes no sense: ``answer`` or ``response``.

    >>> outcome_of_word("done", "", operation="block", source="answer").detail
    "the answer says 'done', which is not an outcome"
    """
    if word == "reversed" and operation != "unblock":
        return Outcome("failed", f"the {source} says that a block is reversed")
    if word == "enforced" and operation == "unblock":
        word = "reversed"
    for kind in OUTCOME_KINDS:
        if word == kind:
            return Outcome(kind, detail)
    return Outcome("failed", f"the {source} says {word[:40]!r}, which is not an outcome")


@dataclass(frozen=True, slots=True)
class SinkWarning:
    """Something about a sink that a person must look at, while the run goes on.

    Attributes:
        kind: ``unreadable response``: changes stay in doubt until the sink's system answers in a way that can be read.
            ``unencrypted``: telephone numbers go over the network in the clear.
            ``adopted``: the ledger belongs to this sink from now on.
            ``other address``: the sink has another address than before.
            ``refilled``: the sink had lost what it held, so it is filled as at first.
            ``not asked``: a ledger begins, and the sink cannot say whether it holds something already.
            ``lost basis``: what the last run went by is lost, so more than usual may wait.
            ``clock``: this machine's clock is behind, so that what has ended may still be blocked.
            ``missed``: the daily comparison found changes that earlier runs had missed, and made them.
        message: what is wrong and what to do; no personal data.
    """

    kind: Literal[
        "unreadable response",
        "unencrypted",
        "adopted",
        "other address",
        "refilled",
        "not asked",
        "lost basis",
        "clock",
        "missed",
    ]
    message: str


@dataclass(frozen=True, slots=True)
class SinkIdentity:
    """What distinguishes a sink from others, so that a ledger is not used with another sink by mistake.

    Attributes:
        address: where the sink is: scheme, host, port, path and the options that matter. Without credentials: it is
            written down, and shown in messages.
        mark: what the sink itself keeps, such as an id in a directory; None if it keeps nothing. A sink with the mark
            that the ledger knows is the same sink under another address.
    """

    address: str
    mark: str | None = None


class SinkUnavailable(Exception):
    """The sink cannot be reached, or fails as a whole. The batch is in doubt, and tried again later.

    Attributes:
        retry_after: how long the sink asks to wait, seconds; None if it does not say.
        is_permitted: False if the system, or a proxy on the way to it, does not know the account or does not permit it
            this. A run then ends at once, with `NotPermitted`: to try again does not help.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, is_permitted: bool = True) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_permitted = is_permitted


@dataclass(frozen=True, slots=True)
class HeldItem:
    """An item that a sink holds: one number or one run of numbers.

    Attributes:
        number: the first number.
        last: the last number; the same for a single number.
        scope: where it is blocked.
    """

    number: int
    last: int
    scope: tuple[str, ...]


@runtime_checkable
class Sink(Protocol):
    """A system in which changes are enforced. One thread uses it at a time.

    A sink keeps items by their first number. Blocking what is blocked already replaces it; unblocking what is not
    blocked does nothing. So the same change may come twice, for example after a crash, and does no harm.
    """

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Enforce the changes of a batch, durably, and return the outcome of each, in their order.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """

    def close(self) -> None:
        """Release connections."""


@runtime_checkable
class ReadableSink(Protocol):
    """A sink that can be read, so that it can be reconciled."""

    def current(self) -> Iterator[HeldItem]:
        """Every item of the feed that the sink holds, in any order.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """


@runtime_checkable
class TransactionalSink(Protocol):
    """A sink that stores the number of the last batch in the same transaction as the items, so each is done once."""

    def applied(self) -> int | None:
        """`number_in_ledger` of the last batch of which every change was done; None before the first.

        A batch with a change that was refused or failed does not count as applied: the number cannot say which change.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """


@runtime_checkable
class WarningSink(Protocol):
    """A sink that may have warnings, which become part of a run's result."""

    def warnings(self) -> Sequence[SinkWarning]:
        """What a person must look at, as of the last `apply`; empty if all is well. A run asks after each batch."""


@runtime_checkable
class IdentifiedSink(Protocol):
    """A sink that says which sink it is. A ledger belongs to one sink, and is refused with another."""

    def identity(self) -> SinkIdentity:
        """Which sink this is.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """


@runtime_checkable
class ProbeableSink(Protocol):
    """A sink that can say quickly that it holds nothing, so that one that lost everything is filled again."""

    def is_empty(self) -> bool:
        """Whether it holds no item of the feed.

        Raises:
            SinkUnavailable: the sink as a whole fails.
        """
