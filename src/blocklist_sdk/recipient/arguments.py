"""What callers give to open a list and to ask it: directories, regions, protected numbers, scopes."""

import hashlib
import logging
import operator
from collections.abc import Callable, Iterable
from pathlib import Path

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.net import in_memory
from blocklist_sdk.net.addresses import read_url
from blocklist_sdk.numbers import Form, normalizer
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.places import absolute, check_name, user_cache, user_state
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.limits import ROWS_MAX

log: logging.Logger = logging.getLogger(__name__)


def directories(url: str, cache_dir: str | Path | None, state_dir: str | Path | None) -> tuple[Path, Path]:
    """The directories for the caches and for the states of an authority's feeds.

    Raises:
        InvalidInput: none is given, and the user has no home directory; or one is relative, and the working directory
            has been deleted; or a name is not UTF-8.
    """
    found = _directories(url, cache_dir, state_dir)
    for directory in found:
        check_name(directory)
    return found


def _directories(url: str, cache_dir: str | Path | None, state_dir: str | Path | None) -> tuple[Path, Path]:
    # Absolute, so that they stay where they are when the process changes its working directory, as daemons do.
    if state_dir is not None:
        state_dir = absolute(state_dir)
    if cache_dir is not None:
        cache = absolute(cache_dir)
        return cache, state_dir or cache / ".state"
    server = in_memory.server_at(url)
    if server is not None:
        return server.directory / "cache", state_dir or server.directory / "state"
    read = read_url(url)
    # Without credentials, which change while the authority stays the same.
    address = read.shown.rstrip("/")
    authority = f"{(read.host or 'file').lower()}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    cache = user_cache() / authority
    return cache, state_dir or user_state() / authority


def number_reader(region: str | None, form: Form = "auto") -> Callable[[str | int], int]:
    """A function that reads a question's number: a text, or an E.164 integer, also one of numpy's."""
    normalize = normalizer(region, form=form)

    def read(number: str | int) -> int:
        if isinstance(number, str):
            return normalize(number)
        try:
            e164 = operator.index(number)
        except TypeError as error:
            raise InvalidNumber("", f"a number is a text or an integer, not a {type(number).__name__}") from error
        if SMALLEST <= e164 <= LARGEST:
            return e164
        raise InvalidNumber("", "an E.164 number is an integer of 6 to 15 digits")

    return read


def protected_numbers(
    numbers: str | Path | Iterable[str | int], region: str | None, form: Form = "auto"
) -> frozenset[int]:
    """The recipient's own protected numbers, as they are or from a text file with one a line.

    A text may be a range or a pattern as well; see `blocklist_sdk.release.protected_texts`.

    Raises:
        InvalidInput: the file cannot be read, or one of them is not a telephone number.
    """
    if not isinstance(numbers, (str, Path)):
        numbers = tuple(numbers)
        if not numbers:
            return frozenset()
    # Here, since most recipients have none.
    from blocklist_sdk.release.protected_texts import ProtectedText, numbers_of, read_lines

    if isinstance(numbers, (str, Path)):
        try:
            texts = read_lines(Path(numbers))
            found = frozenset[int]().union(*numbers_of(texts, region=region, form=form))
        except InvalidInput as error:
            error.argument = error.argument or "protected"
            raise
        if not texts:
            log.warning("there is no number in %s, so no number of yours is protected", numbers)
        return found
    read = number_reader(region, form)
    texts = [ProtectedText(number) for number in numbers if isinstance(number, str)]
    integers = {read(number) for number in numbers if not isinstance(number, str)}
    return frozenset(integers).union(*numbers_of(texts, region=region, form=form))


def row_limit(max_rows: int) -> int:
    """Check how many rows a release may have.

    Raises:
        InvalidInput: `max_rows` is not a whole number from 1 to what the protocol allows.
    """
    if isinstance(max_rows, int) and not isinstance(max_rows, bool) and 1 <= max_rows <= ROWS_MAX:
        return max_rows
    raise InvalidInput(f"max_rows must be a whole number from 1 to {ROWS_MAX:,}, not {max_rows!r}")


def check_scope(scope: str | None) -> None:
    """Check the scope of a question.

    Raises:
        InvalidInput: `scope` is unknown.
    """
    if scope is not None and scope not in SCOPES:
        raise InvalidInput(f"{scope!r} is not a scope; the scopes are {', '.join(SCOPES)}")
