"""Waiting for a group of records: from coroutines and threads, cancelled, in time or too late."""

from __future__ import annotations

import asyncio
import threading
import time

from pipelines.serving.groups import Group


def later(group: Group, kept: bool = True, seconds: float = 0.02) -> None:
    """Finish the group from another thread."""

    def run() -> None:
        time.sleep(seconds)
        group.finish(kept)

    threading.Thread(target=run).start()


def test_all_who_wait_are_told() -> None:
    """Coroutines that wait before, and one that comes after, hear the same."""

    async def run(kept: bool) -> list[bool]:
        group = Group(5.0)
        later(group, kept)
        waiters = [asyncio.ensure_future(_awaited(group)) for _ in range(5)]
        return [*await asyncio.gather(*waiters), await group]

    assert [True] * 6 == asyncio.run(run(True))
    assert [False] * 6 == asyncio.run(run(False))


def test_who_stops_waiting_leaves_the_others_alone() -> None:
    """A cancelled request does not cancel its neighbours'."""

    async def run() -> tuple[bool, bool]:
        group = Group(5.0)
        first, second = (asyncio.ensure_future(_awaited(group)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        later(group)
        return await second, first.cancelled()

    assert (True, True) == asyncio.run(run())


def test_patience_ends() -> None:
    """Where nothing is heard the answer is False, at once for those who come later; the group may still be finished."""

    async def run() -> tuple[bool, bool, bool]:
        group = Group(0.01)
        first, second = await group, await group
        given_up = group.given_up
        group.finish(True)
        assert await group
        return first, second, given_up

    assert (False, False, True) == asyncio.run(run())


def test_threads_wait_too() -> None:
    """`wait` returns what was told, and False after its time."""
    group = Group(5.0)
    assert not group.wait(0.01)
    later(group)
    assert group.wait()
    assert not Group.over(False).wait()


def test_a_closed_loop_disturbs_nobody() -> None:
    """A group whose waiters are gone with their event loop can be finished."""
    group = Group(5.0)

    async def run() -> None:
        asyncio.ensure_future(_awaited(group))  # noqa: RUF006 - it is to be left behind
        await asyncio.sleep(0)

    asyncio.run(run())
    group.finish(True)
    assert group.wait()


def test_finishing_and_waiting_race() -> None:
    """However a writer's thread and a waiter interleave, nobody waits for ever."""

    async def run() -> None:
        for _ in range(300):
            group = Group(5.0)
            thread = threading.Thread(target=group.finish, args=(True,))
            thread.start()
            assert await asyncio.wait_for(_awaited(group), 4.0)
            thread.join()

    asyncio.run(run())


async def _awaited(group: Group) -> bool:
    return await group
