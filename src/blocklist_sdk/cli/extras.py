"""What is said where an extra of the package is not installed."""

import contextlib
from collections.abc import Iterator

from blocklist_sdk.errors import InvalidInput


@contextlib.contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import within fails.

    Raises:
        InvalidInput: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInput(f"{error.name} is not installed: install blocklist-sdk[{name}]") from error
