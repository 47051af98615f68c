"""Many answers side by side."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.batch.jobs import side_by_side
from lmchat.errors import FileRefused


async def each(*jobs):
    for job in jobs:
        yield job


async def test_a_job_is_not_taken_before_it_can_begin():
    taken: list[int] = []
    done: list[int] = []

    async def jobs():
        for number in range(6):
            taken.append(number)
            assert len(taken) - len(done) <= 2
            yield number

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    await side_by_side(jobs(), work, count=2)
    assert done == [*range(6)]


async def test_the_first_failure_cancels_the_others_and_is_raised():
    ended: list[str] = []

    async def work(job: str) -> None:
        if job == "bad":
            raise FileRefused("The disk is full.")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(job)

    async def jobs():
        yield "slow"
        yield "bad"
        await asyncio.Event().wait()  # a pipe that stays open

    with pytest.raises(FileRefused, match="disk is full"):
        await side_by_side(jobs(), work, count=4)
    assert ended == ["slow"]
