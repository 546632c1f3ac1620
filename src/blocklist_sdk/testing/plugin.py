"""Fixtures for pytest, for projects that ask for them.

They are there with this in the topmost ``conftest.py``::

    pytest_plugins = ["blocklist_sdk.testing.plugin"]

or with ``-p blocklist_sdk.testing.plugin`` among pytest's options. Nothing of this library is loaded before a test uses
one of them.

- `blocklist_repository`: a `FakeRepository` for one test.
- `blocklist_exchange`: a `FakeExchange` for one test; needs the extra ``exchange``.
- `blocklist_clock`: a clock that the test sets; with the other two, it is theirs.
- `blocklist_environment`: has `Blocklist.from_settings` and the commands find `blocklist_repository`.

To choose a feed, a region, or an exchange's settings, override `blocklist_repository_options` or
`blocklist_exchange_options` in a ``conftest.py`` or a test module::

    @pytest.fixture
    def blocklist_repository_options():
        return {"feed": "id-messaging", "region": "ID"}
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from blocklist_sdk.testing.clock import Clock
    from blocklist_sdk.testing.exchange import FakeExchange
    from blocklist_sdk.testing.repository import FakeRepository

_PREFIX = "BLOCKLIST_"


@pytest.fixture
def blocklist_repository_options() -> dict[str, Any]:
    """The arguments of `fake_repository`: to be overridden."""
    return {}


@pytest.fixture
def blocklist_exchange_options() -> dict[str, Any]:
    """The arguments of `fake_exchange`: to be overridden."""
    return {}


@pytest.fixture
def blocklist_clock() -> "Iterator[Clock]":
    """The time that this library reads in this process."""
    from blocklist_sdk.testing.clock import fake_clock

    with fake_clock() as clock:
        yield clock


@pytest.fixture
def blocklist_repository(blocklist_repository_options: dict[str, Any]) -> "Iterator[FakeRepository]":
    """A signed repository in memory."""
    from blocklist_sdk.testing.repository import fake_repository

    with fake_repository(**blocklist_repository_options) as repository:
        yield repository


@pytest.fixture
def blocklist_exchange(blocklist_exchange_options: dict[str, Any]) -> "Iterator[FakeExchange]":
    """An exchange in memory."""
    from blocklist_sdk.testing.exchange import fake_exchange

    with fake_exchange(**blocklist_exchange_options) as exchange:
        yield exchange


@pytest.fixture
def blocklist_environment(blocklist_repository: "FakeRepository", monkeypatch: pytest.MonkeyPatch) -> "FakeRepository":
    """The same repository, named by the variables of the environment, and by no other setting of this machine."""
    import os

    for name in [name for name in os.environ if name.startswith(_PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in blocklist_repository.environment.items():
        monkeypatch.setenv(name, value)
    return blocklist_repository
