"""The error where an extra of the package is not installed."""

import contextlib
from collections.abc import Iterator

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import missing_extra


@contextlib.contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Import an extra's packages within this block, so that an error says how to install them.

    Raises:
        InvalidInput: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInput(missing_extra(str(error.name), name)) from error
