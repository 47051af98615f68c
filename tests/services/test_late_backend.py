"""A backend that is made when it is first needed, and what was said to it before."""

from __future__ import annotations

from lmchat.services.late import LateBackend
from tests.support.scripted_backend import ScriptedBackend, model


async def test_hosts_that_were_allowed_before_it_was_made_are_allowed():
    backend = ScriptedBackend()
    late = LateBackend(lambda: backend)
    late.allow("gpu-box")
    assert backend.allowed == []
    await late.ready()
    late.allow("other")
    await late.ready()
    assert backend.allowed == ["gpu-box", "other"]


async def test_how_far_loading_is_comes_through():
    backend, heard = ScriptedBackend(), []

    async def load(_model, *, context=None, on_progress=None):
        on_progress(context / 2)

    backend.load = load
    await LateBackend(lambda: backend).load(model(), context=1, on_progress=heard.append)
    assert heard == [0.5]


async def test_a_count_comes_through():
    backend = ScriptedBackend()
    backend.tokens = 12
    assert await LateBackend(lambda: backend).count_tokens("asked") == 12
    assert backend.counts == ["asked"]
