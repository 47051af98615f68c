from __future__ import annotations

from lmchat.domain.event import RequestAdapted, RequestSent, StreamFinished, TextDelta
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import ScriptedBackend
from tests.support.tui_host import screen_text

UNCOUNTED = [RequestSent(), TextDelta(text="Yes."), StreamFinished(reason="stop")]


async def shows(desk, words: str) -> None:
    await desk.until(lambda: words in screen_text(desk.app).replace("\u2009", " "), words)


async def test_what_a_server_does_not_take_is_told(tmp_path):
    note = "LM Studio is unknown to take \x1b[31m a seed. It is not sent."
    backend = ScriptedBackend([RequestSent(), RequestAdapted(note=note), *UNCOUNTED[1:]])
    async with ready_desktop(tmp_path, asked=["Hello"], backend=backend) as desk:
        await desk.until(lambda: bool(desk.app._notifications), "the note")
        (told,) = [one.message for one in desk.app._notifications]
        assert "It is not sent" in told
        assert "\x1b" not in told


async def test_what_is_typed_is_estimated_and_nothing_is_asked_for_it(desk):
    desk.backend.tokens = 41
    await desk.type("How do tomatoes grow in the north")
    await shows(desk, "~8 tok")
    assert desk.backend.counts == []
