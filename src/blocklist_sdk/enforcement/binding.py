"""Whether a ledger belongs to a sink: a ledger that is used with another sink would leave that one empty, unnoticed.

A sink that keeps a cursor is known by it, whatever its address. Any other sink is known by its mark, or else by its
address.
"""

from dataclasses import dataclass
from typing import Final

from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.shadow import Shadow
from blocklist_sdk.enforcement.sink import (
    IdentifiedSink,
    ProbeableSink,
    ReadableSink,
    Sink,
    SinkIdentity,
    SinkWarning,
    TransactionalSink,
)
from blocklist_sdk.errors import InvalidInput, Malformed

_WHAT_TO_DO: Final = (
    "Nothing was sent. Give another sink a name of its own (--name). If this sink has taken the other's place and "
    "holds the same, use --adopt. If it can be read, --reconcile --repair makes the ledger say what it really holds."
)


@dataclass(frozen=True, slots=True)
class Binding:
    """What follows from a look at the sink before a run.

    Attributes:
        identity: which sink it is; None if it does not say.
        cursor: the number of the last batch that the sink says it has applied, if the ledger must forget what it knew
            about that; None otherwise.
        is_lost: whether the sink holds nothing, though the ledger says that it does.
        warnings: what a person must know.
    """

    identity: SinkIdentity | None
    cursor: int | None = None
    is_lost: bool = False
    warnings: tuple[SinkWarning, ...] = ()


def identity_of(sink: Sink) -> SinkIdentity | None:
    """Which sink it is; None if it does not say.

    Raises:
        SinkUnavailable: the sink as a whole fails.
    """
    return sink.identity() if isinstance(sink, IdentifiedSink) else None


def examine(ledger: Ledger | None, items: int, sink: Sink, *, name: str, adopt: bool) -> Binding:
    """Check that a ledger belongs to a sink, and that the sink still holds what it acknowledged.

    Args:
        ledger: the ledger; None if there is none yet.
        items: how many items the sink holds, as the ledger says.
        sink: the sink.
        name: the sink's name.
        adopt: the ledger belongs to this sink from now on.

    Raises:
        InvalidInput: the ledger belongs to another sink, or is new and the sink holds something; or `adopt` is given
            and the sink is empty.
        Malformed: the sink has lost batches that it acknowledged.
        SinkUnavailable: the sink as a whole fails.
    """
    identity = identity_of(sink)
    if ledger is None or ledger.is_empty:
        return _begun(sink, identity, name=name, adopt=adopt)
    is_elsewhere = ledger.sink is not None and (identity is None or identity.address != ledger.sink.address)
    if adopt and _is_another(ledger.sink, identity) and items and _is_empty(sink):
        where = "this sink" if identity is None else identity.address
        raise InvalidInput(
            f"--adopt says that {where} holds what the ledger of {name!r} says, but it is empty, so nothing would be "
            "sent. Nothing was changed. Give it a name of its own (--name), which fills it; or, if it can be read, use "
            "--reconcile --repair."
        )
    if is_elsewhere and isinstance(sink, TransactionalSink) and isinstance(sink, ProbeableSink):
        # Before anything that may make tables: this may be the wrong database.
        is_new = sink.is_empty() and bool(items)
        if is_new and not adopt and ledger.sink is not None:
            raise _mismatch(name, ledger.sink, identity)
    applied = (sink.applied() or 0) if isinstance(sink, TransactionalSink) else 0
    expected = ledger.cursor() if isinstance(sink, TransactionalSink) else 0
    if not expected and ledger.sink is None and not ledger.is_answered:
        warnings: tuple[SinkWarning, ...] = ()  # the first run did not get that far
    elif not expected:
        warnings = _checked_address(ledger.sink, identity, name=name, adopt=adopt)
    elif applied:
        if applied < expected and not adopt:
            raise Malformed(
                f"the sink has applied batch {applied}, but had acknowledged batch {expected} before: it was restored "
                "from an older copy. Run blocklist enforce --reconcile --repair."
            )
        warnings = _moved(ledger.sink, identity, name)
    else:
        is_empty = _is_empty(sink)
        if not adopt and is_elsewhere and ledger.sink is not None:
            raise _mismatch(name, ledger.sink, identity)
        if not adopt and not is_empty:
            raise InvalidInput(
                f"the sink does not know the ledger of {name!r}, but holds items, which something else has written. "
                + _WHAT_TO_DO
            )
        warnings = _adopted(name, identity) if adopt or ledger.sink is None else ()
        if is_empty:
            return Binding(identity, applied, is_lost=True, warnings=(*warnings, _refilled(name)))
        return Binding(identity, applied, warnings=warnings)
    is_lost = bool(items) and isinstance(sink, ProbeableSink) and sink.is_empty()
    if is_lost:
        warnings = (*warnings, _refilled(name))
    return Binding(identity, applied if adopt or is_lost else None, is_lost=is_lost, warnings=warnings)


def _begun(sink: Sink, identity: SinkIdentity | None, *, name: str, adopt: bool) -> Binding:
    """Check that a ledger may begin with a sink: what the sink holds already, the ledger would never lift."""
    if isinstance(sink, Shadow):
        return Binding(identity)
    is_empty = _is_empty(sink)
    if is_empty is None:
        message = (
            f"the ledger of {name!r} begins, and the sink cannot say whether it holds something already: what an "
            "earlier ledger has blocked there is not lifted by this one. If there was one, restore it from a copy, or "
            "empty the sink. A sink that can be read is compared with --reconcile"
        )
        return Binding(identity, warnings=(SinkWarning("not asked", message),))
    if not is_empty and not adopt:
        where = "the sink" if identity is None else identity.address
        raise InvalidInput(
            f"{where} holds items, and the ledger of {name!r} does not know them, so they would never be lifted. "
            "Nothing was sent. If there is a ledger under another name, give that name (--name), or if it was lost, "
            "restore it from a copy. If the sink can be read, --reconcile --repair makes the ledger say what it holds. "
            "If another ledger goes on lifting them, use --adopt."
        )
    return Binding(identity, warnings=() if is_empty else _adopted(name, identity))


def _is_another(known: SinkIdentity | None, identity: SinkIdentity | None) -> bool:
    """Whether a sink is not the one that the ledger knows."""
    if known is None or identity is None:
        return known is not None
    return known.mark != identity.mark if known.mark is not None else known.address != identity.address


def _checked_address(
    known: SinkIdentity | None, identity: SinkIdentity | None, *, name: str, adopt: bool
) -> tuple[SinkWarning, ...]:
    """Check mark and address, where the sink has no cursor."""
    if known == identity:
        return ()
    if known is None or adopt:
        return _adopted(name, identity)
    if identity is None:
        raise _mismatch(name, known, None)
    if known.mark is not None and known.mark != identity.mark:
        if known.address == identity.address:
            raise InvalidInput(
                f"{identity.address} is not the directory that it was: it was made anew, or another one is mounted "
                f"there, and the ledger of {name!r} belongs to the old one. {_WHAT_TO_DO}"
            )
        raise _mismatch(name, known, identity)
    if known.address != identity.address:
        if known.mark is None:
            raise _mismatch(name, known, identity)
        return _moved(known, identity, name)
    return ()


def _mismatch(name: str, known: SinkIdentity, identity: SinkIdentity | None) -> InvalidInput:
    this = "this sink, which does not say what it is" if identity is None else identity.address
    return InvalidInput(f"the ledger of {name!r} belongs to {known.address}, not to {this}. {_WHAT_TO_DO}")


def _moved(known: SinkIdentity | None, identity: SinkIdentity | None, name: str) -> tuple[SinkWarning, ...]:
    if identity is None:
        return ()
    if known is None:
        return _adopted(name, identity)
    if known.address == identity.address:
        return ()
    return (SinkWarning("other address", f"the sink {name!r} is at {identity.address} now; it was at {known.address}"),)


def _adopted(name: str, identity: SinkIdentity | None) -> tuple[SinkWarning, ...]:
    if identity is None:
        return ()
    message = f"the ledger of {name!r} belongs to {identity.address} from now on"
    return (SinkWarning("adopted", message),)


def _refilled(name: str) -> SinkWarning:
    return SinkWarning(
        "refilled", f"the sink {name!r} is empty, though it had acknowledged items: it is filled as at first"
    )


def _is_empty(sink: Sink) -> bool | None:
    """Whether a sink holds nothing; None if it cannot say."""
    if isinstance(sink, ProbeableSink):
        return sink.is_empty()
    return next(iter(sink.current()), None) is None if isinstance(sink, ReadableSink) else None
