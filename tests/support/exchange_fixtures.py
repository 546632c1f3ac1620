"""An exchange for each test, on SQLite and on PostgreSQL.

The parts are imported when they are needed: this module is loaded in every test run.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.talking import Clock, Server, Talk

SQLITE = "sqlite:///exchange.sqlite"
_NUMBERS = itertools.count(1)

Starts = Callable[..., "Talk"]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with accounts, and their secrets."""
    from support.talking import make_template

    folder = tmp_path_factory.mktemp("exchange") / "template"
    return folder, make_template(folder)


@pytest.fixture(scope="session")
def template(kept: tuple[Path, dict[str, str]]) -> Path:
    return kept[0]


@pytest.fixture(scope="session")
def secrets(kept: tuple[Path, dict[str, str]]) -> dict[str, str]:
    """Secrets and private keys by account; on SQLite."""
    return kept[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server of this session's own."""
    from support.postgres import NoPostgres, postgres_server

    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres_server())
        except NoPostgres as error:
            if os.environ.get("CI_REQUIRES_SERVERS") == "1":
                raise
            pytest.skip(str(error))
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres: str, template: Path) -> str:
    """The same server, with a database `template` that holds an exchange's tables and accounts."""
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.store.database import Database
    from support.postgres import database_url, run_sql
    from support.talking import add_accounts

    run_sql(postgres, "CREATE DATABASE template")
    url = database_url(postgres, "template")
    database = Database(url, directory=template)
    database.create()
    database.close()
    with Exchange.open(template, passphrase=None, database=url) as exchange:
        add_accounts(exchange)
    return postgres


@pytest.fixture(scope="session")
def server(template: Path) -> Iterator["Server"]:
    """One HTTP server for all tests of this session."""
    from blocklist_sdk.exchange_server.exchange import Exchange
    from support.talking import serving

    with Exchange.open(template, passphrase=None) as exchange, serving(exchange) as server:
        yield server


@pytest.fixture
def clock() -> "Clock":
    from support.talking import Clock

    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a database that holds an exchange's tables and accounts, and nothing else."""
    if request.param == "sqlite":
        return SQLITE
    url: str = request.getfixturevalue("new_postgres")()
    return url


@pytest.fixture
def new_postgres(postgres_template: str) -> Iterator[Callable[[], str]]:
    """Makes databases on PostgreSQL, which are gone after the test: each takes eight megabytes."""
    from support.postgres import database_url, run_sql

    with ExitStack() as stack:

        def make() -> str:
            name = f"t{next(_NUMBERS)}"
            run_sql(postgres_template, f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
            stack.callback(run_sql, postgres_template, f"DROP DATABASE {name} WITH (FORCE)")
            return database_url(postgres_template, name)

        yield make


@pytest.fixture
def start(template: Path, server: "Server", tmp_path: Path, clock: "Clock") -> Iterator[Starts]:
    """Starts exchanges; only the last one is served."""
    from support.talking import Talk, copy_exchange

    names = itertools.count(1)
    with ExitStack() as stack:

        def begin(database: str = SQLITE, **settings: Any) -> Talk:
            folder = tmp_path / f"exchange-{next(names)}"
            exchange = stack.enter_context(copy_exchange(template, folder, clock, database=database, **settings))
            server.serve(exchange)
            return Talk(exchange, clock, server)

        yield begin


@pytest.fixture
def talk(start: Starts, database: str) -> "Talk":
    """An exchange, on both databases in turn."""
    return start(database)


@pytest.fixture
def lite(start: Starts) -> "Talk":
    """An exchange on SQLite, where the database does not matter."""
    return start()
