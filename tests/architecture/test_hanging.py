"""Tests that hang end with a failure, so that a run of all tests ends, too."""

from __future__ import annotations

from tests.support.programs import PYTHON, run

FAILS_AND_HANGS = """
import asyncio

import pytest


@pytest.fixture
async def stuck():
    yield
    await asyncio.Event().wait()


@pytest.mark.timeout(1)
async def test_fails(stuck):
    assert False, "the first failure"
"""


def test_a_failed_test_whose_teardown_hangs_does_not_stop_the_run(tmp_path):
    path = tmp_path / "test_stuck.py"
    path.write_text(FAILS_AND_HANGS, encoding="utf-8")
    plugins = ("pytest_asyncio.plugin", "pytest_timeout", "tests.support.hanging")
    words = ("-q", *(word for name in plugins for word in ("-p", name)))
    settings = ("-c", "/dev/null", "-o", "asyncio_mode=auto", "--rootdir", tmp_path)
    done = run(
        [PYTHON, "-m", "pytest", *words, *settings, path],
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "the first failure" in done.stdout
    assert "The teardown of a failed test took too long." in done.stdout
    assert "1 failed, 1 error" in done.stdout
