"""Places for work: who gets one, who waits, and who is refused."""

import asyncio
import re
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.exchange_server.http import places, uploads
from blocklist_sdk.exchange_server.http.places import SIZES, Busy, Places, PlacesOf


def run(check: Coroutine[Any, Any, None]) -> None:
    asyncio.run(check)


def test_one_client_holds_a_share_and_others_the_rest() -> None:
    async def check() -> None:
        some = Places(PlacesOf(3, 2, wait_s=0.01, waiting=2))
        await some.take("a")
        await some.take("a")
        with pytest.raises(Busy):
            await some.take("a")
        await some.take("b")
        assert (some.held, some.waiting) == (3, 0)
        with pytest.raises(Busy):
            await some.take("c")
        some.free("a")
        await some.take("c")

    run(check())


def test_a_free_place_goes_to_the_first_who_may_have_it() -> None:
    async def check() -> None:
        some = Places(PlacesOf(2, 1, wait_s=5, waiting=4))
        await some.take("a")
        await some.take("b")
        order: list[str] = []

        async def wait(who: str) -> None:
            await some.take(who)
            order.append(who)

        tasks = []
        for who in ("a", "c", "b"):
            tasks.append(asyncio.create_task(wait(who)))
            await asyncio.sleep(0)
        some.free("b")  # `a` holds as many as it may
        await asyncio.sleep(0)
        some.free("a")
        await asyncio.sleep(0)
        some.free("c")
        await asyncio.gather(*tasks)
        assert order == ["c", "a", "b"]
        assert (some.held, some.waiting) == (2, 0)

    run(check())


def test_the_queue_is_short_and_half_of_it_is_one_clients() -> None:
    async def check() -> None:
        some = Places(PlacesOf(1, 1, wait_s=5, waiting=4))
        await some.take("a")
        waiting = [asyncio.create_task(some.take(who)) for who in ("a", "a")]
        await asyncio.sleep(0)
        assert some.is_full("a")
        assert not some.is_full("b")
        with pytest.raises(Busy):
            await some.take("a")
        waiting += [asyncio.create_task(some.take(who)) for who in ("b", "c")]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await some.take("d")
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert some.waiting == 0
        some.free("a")
        await some.take("d")

    run(check())


def test_places_close_while_work_is_slow_and_open_again() -> None:
    async def check() -> None:
        some = Places(PlacesOf(16, 16, wait_s=0.01, waiting=0, target_s=0.1))

        async def taken() -> int:
            count = 0
            try:
                while True:
                    await some.take("a")
                    count += 1
            except Busy:
                return count

        assert await taken() == 16
        for _ in range(16):
            some.free("a", took_s=0.2)
            await asyncio.sleep(0.001)
        slow = await taken()
        assert slow < 16
        for _ in range(slow):
            some.free("a", took_s=0.01)
        for _ in range(200):
            async with some.one_of("a"):
                pass
        assert await taken() == 16

    run(check())


def test_no_kind_of_work_waits_for_the_threads_of_another() -> None:
    in_threads = [size for kind, size in SIZES.items() if kind != "report"]
    assert sum(size.places for size in in_threads) <= places.THREADS
    assert all(size.share < size.places or size.places <= 2 for size in SIZES.values())


def test_the_documented_places_are_these() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/exchange-settings.md").read_text(encoding="utf-8")
    section = text.partition("\n## Load\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2:4] for line in section.splitlines() if line.startswith("| ")]
    written = Counter((int(re.findall(r"\d+", a)[0]), int(re.findall(r"\d+", b)[0])) for a, b in rows[1:])
    files = (uploads._UPLOADS, uploads.UPLOADS_OF_ACCOUNT)
    sizes = [(size.places, size.share) for kind, size in SIZES.items() if kind != "health"]
    assert written == Counter([files, *sizes])
