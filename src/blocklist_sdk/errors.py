"""The exceptions of this library, one tree.

::

    BlocklistError
    ├── Unreachable          the network: refused, timed out, 5xx, too slow
    │   └── NotPermitted     a server, a sink or a proxy does not know this account, or does not permit it this
    ├── Untrusted            a signature, a hash, a rollback
    ├── Stale                past the signed expiry
    ├── Malformed            data that is not as the protocol requires, verified or not
    ├── Refused              refused by a guard
    ├── Locked               another process holds the lock
    ├── NotSynced            nothing was synced on this machine yet
    ├── StorageFailed        this machine: disk full, read-only, not permitted; too little memory
    ├── InvalidInput         a value from the caller that cannot be used
    │   └── InvalidNumber    a text that is not a telephone number
    └── ExchangeError        the exchange answered with a problem document

Every message says what happened and what to do. No message contains a whole telephone number.
"""

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from blocklist_sdk.texts import displayable


class BlocklistError(Exception):
    """Root of every error this library raises on purpose.

    Its message is one line that a terminal shows and does not obey: much in it comes from lists, servers and files.
    """

    def __init__(self, *args: object) -> None:
        """Take a message, of which line ends and controls are taken out."""
        super().__init__(*(displayable(arg) if isinstance(arg, str) else arg for arg in args))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the class is called with the message alone, but most classes need keyword arguments as well.
        return _restored, (type(self), self.args, dict(self.__dict__))


class Unreachable(BlocklistError):
    """A repository, an exchange or a sink could not be reached, or answered too slowly or not at all.

    Raised by syncs, mirrors, clients and enforcement. What was in force still is: try again later.

    Attributes:
        url: the address that was asked for.
        status: the last HTTP status, or None when there was no answer.
        retry_after: seconds the server asked to wait, already capped, or None.
    """

    def __init__(self, message: str, *, url: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.retry_after = retry_after


class NotPermitted(Unreachable):
    """A server does not know this account or does not permit it this, or wants an account where none was given.

    Raised by syncs and mirrors, of a repository's server; by runs of enforcement, of a sink's system; and by all that
    goes through a proxy, of the proxy. To try again does not help: the message says who was refused what. What was in
    force still is, and a sync in the background goes on trying, at longer and longer times.
    """


class Untrusted(BlocklistError):
    """Data could not be verified: a signature, hash or length is wrong, or it is older than before.

    Raised by syncs, mirrors and publishers. What was in force still is: check the pinned root, then ask the publisher.
    """


class Stale(BlocklistError):
    """Signed data is past its expiry.

    Raised by syncs and mirrors, and by questions if the list was opened with ``when_stale="raise"``; then also if this
    machine's clock is known to be behind. Check this machine's clock, then ask the publisher.

    Attributes:
        role: the TUF role whose metadata expired, or None when it is not known.
        expired: when it expired, timezone-aware UTC, or None when it is not known.
    """

    def __init__(self, message: str, *, role: str | None = None, expired: datetime | None = None) -> None:
        super().__init__(message)
        self.role = role
        self.expired = expired


class Malformed(BlocklistError):
    """Data is not as the protocol requires: truncated JSON, a captive portal's page, a wrong schema.

    Raised by whatever reads files and answers. The message says whether to ask the publisher or to repair a local file.
    """


class Refused(BlocklistError):
    """A guard or a limit of your own refused a verified release or a list to be published.

    Raised by syncs and publishers, and by overrides of a range that is too wide. Check the reasons; if the release is
    right, accept it.

    Attributes:
        serial: the release that was refused; None if a list to be published was.
        reasons: why, each in a few words.
        details: what would have happened, line by line; numbers are masked. Empty where the reasons say it all.
        accept: what lets the release in on any machine, SERIAL:DIGEST; None if a list to be published was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        serial: int | None = None,
        reasons: tuple[str, ...] = (),
        details: tuple[str, ...] = (),
        accept: str | None = None,
    ) -> None:
        super().__init__(message)
        self.serial = serial
        self.accept = accept
        self.reasons = reasons
        self.details = details


class Locked(BlocklistError):
    """Another process holds the lock, and did not release it while the caller was willing to wait.

    Raised by whatever writes to disk. Try again later, or wait longer.

    Attributes:
        path: the lock's file.
    """

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(message)
        self.path = path


class NotSynced(BlocklistError):
    """Nothing was synced on this machine yet. Raised by every question about numbers: run ``sync()`` first.

    Raised by syncs where the repository has the feed, and the feed has no release yet.
    """


class StorageFailed(BlocklistError):
    """This machine failed: its disk is full, read-only or denies access, or its memory does not suffice for a release.

    The list in force is whole and verified: the one that was in force before, or, if only the last step failed (the
    one that makes the switch survive a power cut), the new one. Raised by whatever uses the disk, and by syncs: make
    room, correct the permissions or give the process more memory, then try again.

    Attributes:
        path: the file or directory concerned; where memory does not suffice, that of the releases.
    """

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(message)
        self.path = path


class InvalidInput(BlocklistError, ValueError):
    """A value from the caller cannot be used: an unknown feed, a missing root, a column that does not exist.

    Raised by every function; the message says which value to correct.

    Attributes:
        argument: the name of the argument that cannot be used, as of `Blocklist.open`, where that is known; else None.
    """

    def __init__(self, *args: object, argument: str | None = None) -> None:
        super().__init__(*args)
        self.argument = argument


class InvalidNumber(InvalidInput):
    """A text that is not a telephone number.

    ``str(error)`` shows the text masked, so that it may go to a log; ``error.text`` has it whole.

    Attributes:
        text: what was given.
        reason: why it is not one, in a few words.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{mask(text)!r} is not a telephone number: {reason}")
        self.text = text
        self.reason = reason


class ExchangeError(BlocklistError):
    """The exchange refused a request, with a problem document (RFC 9457), or a token, with an error of OAuth.

    Raised by clients of an exchange, and by syncs whose credentials are refused; the problem says what to correct.

    Attributes:
        status: the HTTP status.
        problem: the document's members; of an error of OAuth (RFC 6749, 5.2) ``error`` and what comes with it.
        retry_after: seconds the server asked to wait, already capped, or None.
    """

    def __init__(
        self, message: str, *, status: int, problem: dict[str, object], retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


for _class in [each for each in vars().values() if isinstance(each, type) and issubclass(each, BlocklistError)]:
    _class.__module__ = "blocklist_sdk"  # where users import it from, also in a traceback
del _class


def _restored(kind: type[BlocklistError], args: tuple[Any, ...], attributes: dict[str, Any]) -> BlocklistError:
    """A copy of an error, as `pickle` and `copy` make it."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


def not_pickled(thing: str, remedy: str) -> TypeError:
    """The error to raise if something that is open in this process, or holds a secret, is pickled or copied.

    A `TypeError`, since pickle and copy promise that one.

    Args:
        thing: what it is.
        remedy: what to do instead.

    >>> raise not_pickled("a Publisher", "open it in each process")
    Traceback (most recent call last):
    TypeError: a Publisher cannot be pickled or copied: open it in each process
    """
    return TypeError(f"{thing} cannot be pickled or copied: {remedy}")


def unexpected(error: Exception) -> BlocklistError:
    """An exception that is none of this library's as one that is, without its text, which may contain a number."""
    fault = BlocklistError(f"unexpected {type(error).__name__}: a fault of this library: report it")
    fault.__cause__ = error
    return fault


def why_not_synced(feed: str, last_error: str | None, *, is_on_disk: bool) -> str:
    """Why a feed has no list on this machine that can be used, and what to do, for `NotSynced`.

    Args:
        feed: the feed's name.
        last_error: the last sync's error, as its class and message; None if it never ran, or succeeded.
        is_on_disk: whether there is a release on the disk, which then is damaged.
    """
    if is_on_disk:
        return f"the list of feed {feed!r} on this disk is damaged: run blocklist sync, which fetches it again"
    if last_error is None:
        return f"feed {feed!r} was never synced on this machine: run blocklist sync first"
    result = "was refused" if last_error.startswith(Refused.__name__) else "failed"
    return f"feed {feed!r} has no list on this machine, since its last sync {result}: blocklist status says why"


def why_stale(feed: str, expires: str | None, *, is_bundle: bool) -> str:
    """What is wrong with a list past its signed expiry, and what to do, for `Stale`.

    Args:
        feed: the feed's name.
        expires: when it expired, as text; None if that is not known.
        is_bundle: whether the list is in a bundle, which cannot be synced.
    """
    remedy = "sync a list, and make the bundle anew from it" if is_bundle else "run blocklist sync"
    return (
        f"the list of feed {feed!r} is past its signed expiry ({expires or 'unknown'}): {remedy}; if that does not "
        "help, the publisher is late, or this machine's clock is ahead"
    )


def mask(text: str) -> str:
    """Hide the middle of a number or a text that may hold one, for logs and messages.

    >>> mask("+6281234567890")
    '+628…890'
    >>> mask("GoPay")
    'G…y'
    """
    text = text if len(text) <= 32 else text[:4] + text[-3:]
    head, tail = (4, 3) if len(text) >= 10 else (1, 1)
    return text[:head] + "…" + text[-tail:] if len(text) > head + tail else "…" * bool(text)


_NUMBER: Final = re.compile(r"\d{6,}", re.ASCII)
_USER_IN_URL: Final = re.compile(r"(?<=://)[^/\s@]*@")
_QUERY: Final = re.compile(r"\?[^\s\"'<>)\]]+")
_FOREIGN_CHARS_MAX: Final = 500
_SECRET_CHARS_MIN: Final = 4
"""A shorter secret is not looked for: it would be found in every text."""


def without_numbers(text: str) -> str:
    """A text in which every run of six digits or more is masked, since it may be a telephone number.

    >>> without_numbers("redirected to /v1/numbers/%2B6281234567890")
    'redirected to /v1/numbers/%2B6281…890'
    """
    return _NUMBER.sub(lambda found: mask(found[0]), text)


def without_credentials(text: str) -> str:
    """A text in which the credentials and the queries of URLs are masked.

    >>> without_credentials("GET https://me:secret@lists.example/a?token=17")
    'GET https://…@lists.example/a?…'
    """
    return _QUERY.sub("?…", _USER_IN_URL.sub("…@", text))


def foreign_text(error: BaseException | str, *secrets: str | None) -> str:
    """What another library or system says, for a message or a log: without passwords, tokens and telephone numbers.

    Masks numbers, credentials and queries in URLs, and the secrets that are given, as they are and as URLs and Python
    write them. Cut after 500 characters.

    Args:
        error: the exception, or its text.
        secrets: what must not be shown, such as the password of the connection.

    >>> foreign_text("cannot open redis://me:hunter2@cache/0?token=17 for +6281234567890", "hunter2")
    'cannot open redis://…@cache/0?… for +6281…890'
    """
    from urllib.parse import quote, quote_plus

    text = str(error).strip() or (error if isinstance(error, str) else type(error).__name__)
    for secret in secrets:
        if secret is not None and len(secret) >= _SECRET_CHARS_MIN:
            for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]):
                text = text.replace(form, "…")
    text = without_numbers(without_credentials(text))
    return displayable(text if len(text) <= _FOREIGN_CHARS_MAX else text[:_FOREIGN_CHARS_MAX] + "…")


@contextlib.contextmanager
def concerning(argument: str) -> Iterator[None]:
    """Mark errors as being about a setting, unless they are about another one already."""
    try:
        yield
    except InvalidInput as error:
        error.argument = error.argument or argument
        raise
