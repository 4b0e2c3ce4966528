# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest
from conftest import ALL, brute_force

import silurus


def run(db, use):
    async def main():
        async with await silurus.aio.connect(db.url) as client:
            return await use(client)

    return asyncio.run(main())


def test_many_searches_are_awaited_together(db, boxes):
    db.load(*boxes)
    windows = [[i / 100, 0.2, i / 100 + 0.1, 0.3] for i in range(100)]

    async def use(client):
        return await asyncio.gather(*(client.range(window) for window in windows))

    for window, found in zip(windows, run(db, use)):
        assert sorted(found.tolist()) == brute_force(boxes[1], window).tolist()


def test_calls_of_one_task_are_in_order(db):
    async def use(client):
        await client.insert(7, [0, 0, 1, 1])
        before = await client.count(ALL)
        await client.erase(7, [0, 0, 1, 1])
        return before, await client.count(ALL)

    assert run(db, use) == (1, 0)


def test_neighbours_are_no_more_than_there_are(db):
    db.insert(7, [3, 4, 3, 4])

    async def use(client):
        return await asyncio.gather(*(client.nearest([0, 0], k=3) for _ in range(2)))

    assert [(ids.tolist(), distances.tolist()) for ids, distances in run(db, use)] == [([7], [5.0])] * 2


def test_an_error_is_that_of_its_own_call(db):
    async def use(client):
        good = client.range([0, 0, 1, 1])
        bad = client.range([0, 0, float("nan"), 1])
        return await asyncio.gather(good, bad, return_exceptions=True)

    good, bad = run(db, use)
    assert good.tolist() == [] and isinstance(bad, silurus.errors.InvalidArgumentError)


@pytest.mark.parametrize("k", [0, -1])
def test_no_neighbours_are_refused(db, k):
    async def use(client):
        with pytest.raises(ValueError, match="at least 1"):
            await client.nearest([0, 0], k=k)
        with pytest.raises(TypeError):
            await client.nearest([0, 0], k="one")
        return await client.count(ALL)

    assert run(db, use) == 0


def test_arguments_that_cannot_be_compared_fail_alone(db):
    class Odd(str):
        __hash__ = None

        def __eq__(self, other):
            raise ArithmeticError("not to be compared")

    async def use(client):
        odd = (client.range([0, 0, 1, 1], predicate=Odd("within")) for _ in range(2))
        assert len(await asyncio.gather(*odd, return_exceptions=True)) == 2
        return await client.count(ALL)

    assert run(db, use) == 0


def test_any_method_can_be_called(db):
    async def use(client):
        return await client.call("range_v", [[0, 0]], [[1, 1]])

    assert run(db, use)[1].tolist() == [0, 0]


def test_a_cancelled_call_does_no_harm(db):
    async def use(client):
        task = asyncio.ensure_future(client.range([0, 0, 1, 1]))
        await asyncio.sleep(0)
        task.cancel()
        return await client.count(ALL)

    assert run(db, use) == 0


def test_a_closed_client_refuses_calls(db):
    async def main():
        client = await silurus.aio.connect(db.url)
        await client.close()
        with pytest.raises(silurus.errors.UnavailableError):
            await client.count(ALL)

    asyncio.run(main())
