from __future__ import annotations

from lmchat.domain.event import StreamFinished, TextDelta
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import CHAT, plain


async def test_an_answer_arrives_piece_by_piece_and_ends(server, client):
    plain(server)
    events, error = await events_of(client, ask(server))
    assert error is None
    assert [one.text for one in events if isinstance(one, TextDelta)] == ["Hello", " there", "."]
    assert events[-1] == StreamFinished(reason="stop")
    assert server.seen(CHAT)[0].json["stream"] is True
