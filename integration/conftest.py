"""What the tests with neighbours share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """A folder for the servers of a module. Its path is short, since a Unix socket's may have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="blocklist-", ignore_cleanup_errors=True) as name:
        yield Path(name)
