"""A backend that is made when it is first needed, and what was said to it before."""

from __future__ import annotations

from contextlib import aclosing

from lmchat.domain.event import TextDelta
from lmchat.domain.telemetry import Metrics
from lmchat.services.ports import late_backend
from tests.support.scripted_backend import ScriptedBackend, answer, model


async def test_hosts_that_were_allowed_before_it_was_made_are_allowed():
    backend = ScriptedBackend()
    late = late_backend(lambda: backend)
    late.port.allow("gpu-box")
    assert backend.allowed == []
    await late.ready()
    late.port.allow("other")
    await late.ready()
    assert backend.allowed == ["gpu-box", "other"]


async def test_how_far_loading_is_comes_through():
    backend, heard = ScriptedBackend(), []

    async def load(_model, *, context=None, on_progress=None):
        on_progress(context / 2)

    backend.load = load
    await late_backend(lambda: backend).port.load(model(), context=1, on_progress=heard.append)
    assert heard == [0.5]


async def test_a_count_comes_through():
    backend = ScriptedBackend()
    backend.tokens = 12
    assert await late_backend(lambda: backend).port.count_tokens("asked") == 12
    assert backend.counts == ["asked"]


async def test_a_stream_makes_the_backend_and_figures_do_not():
    made = []
    late = late_backend(lambda: made.append(True) or ScriptedBackend(answer("Hi."))).port
    assert (late.metrics(), late.budget(), late.cached_models().models, made) == (Metrics(), None, (), [])
    async with aclosing(late.stream(None)) as events:
        assert [event.text async for event in events if isinstance(event, TextDelta)] == ["Hi."]
    assert made == [True]
