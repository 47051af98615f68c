"""Many answers side by side."""

from __future__ import annotations

import asyncio

from lmchat.cli.jobs import side_by_side


async def test_a_huge_number_of_jobs_at_once_makes_no_more_workers_than_there_are_jobs():
    counts: list[int] = []

    async def work(_: str) -> None:
        counts.append(len(asyncio.all_tasks()))

    await side_by_side(["first", "second"], work, count=1000)
    this_test_and_two_workers = 3
    assert max(counts) <= this_test_and_two_workers


async def test_without_jobs_nothing_is_done():
    done: list[str] = []

    async def work(job: str) -> None:
        done.append(job)

    await side_by_side([], work, count=4)
    assert done == []
