"""What is open in one process is never pickled, and the error says what to do; what is forked goes on."""

import copy
import os
import pickle
from collections.abc import Callable

import pytest

from blocklist_sdk import (
    AsyncBlocklist,
    AsyncExchangeClient,
    Blocklists,
    ClientCredentials,
    ExchangeClient,
)
from support.world import FEED, LISTED, World, make_world

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    world.recipient().sync()
    return world


URL = "https://exchange.example"
MAKERS: dict[str, Callable[[World], object]] = {
    "Blocklist": lambda world: world.recipient(),
    "Blocklists": lambda world: Blocklists([world.recipient()]),
    "AsyncBlocklist": lambda world: AsyncBlocklist(world.recipient()),
    "Screening": lambda world: world.recipient().screening(),
    "Changes": lambda world: world.recipient().changes(since=None),
    "Overrides": lambda world: world.recipient().overrides,
    "AsyncOverrides": lambda world: AsyncBlocklist(world.recipient()).overrides,
    "Publisher": lambda world: world.publisher,
    "ClientCredentials": lambda world: ClientCredentials.for_exchange(URL, "gopay", "a-secret"),
    "ExchangeClient": lambda world: ExchangeClient(URL),
    "AsyncExchangeClient": lambda world: AsyncExchangeClient(URL),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_open_is_not_pickled_and_the_error_says_what_to_do(world: World, name: str, protocol: int) -> None:
    with pytest.raises(
        TypeError, match=f"{name}( of feed .*)? cannot be pickled.*: (open|make|call|take|pass) "
    ) as caught:
        pickle.dumps(MAKERS[name](world), protocol)
    assert "_thread" not in str(caught.value)


def test_background_sync_is_not_pickled_either(world: World) -> None:
    with (
        world.recipient().keep_synced(3600) as background,
        pytest.raises(TypeError, match="BackgroundSync cannot be pickled"),
    ):
        pickle.dumps(background)


@pytest.mark.parametrize("name", ["Blocklist", "Screening", "Publisher"])
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_nor_is_it_copied(world: World, name: str, make: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        make(MAKERS[name](world))


def test_answers_are_pickled(world: World) -> None:
    recipient = world.recipient()
    answers = [recipient.check(LISTED), recipient.explain(LISTED), recipient.status(), *recipient.changes(since=None)]
    assert pickle.loads(pickle.dumps(answers)) == answers


def in_child(work: Callable[[], bool]) -> bool:
    """Whether work in a forked process went well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_process_goes_on_with_what_was_open(world: World) -> None:
    recipient, several = world.recipient(), Blocklists([world.recipient()])
    screening = recipient.screening()
    assert LISTED in recipient
    assert LISTED in several

    def work() -> bool:
        import pyarrow as pa

        answers = screening.table(pa.array([LISTED])).column("blocked").to_pylist()
        recipient.overrides.allow(LISTED, reason="of the child", author="ayu")
        recipient.overrides.remove(LISTED)
        return LISTED in recipient and LISTED in several and answers == [True] and recipient.sync().kind == "none"

    assert in_child(work)
    assert LISTED in recipient


def test_a_forked_client_opens_connections_of_its_own() -> None:
    with ExchangeClient(URL) as exchange:
        before = exchange._connections()
        assert exchange._connections() is before

        def work() -> bool:
            return exchange._connections() is not before and exchange._connections() is exchange._connections()

        assert in_child(work)
        assert exchange._connections() is before


def test_the_feed_is_named(world: World) -> None:
    with pytest.raises(TypeError, match=FEED):
        pickle.dumps(world.recipient())
