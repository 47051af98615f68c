"""Short ways to call the proxy-client layer in tests."""

from __future__ import annotations

from contextlib import aclosing

from lmchat.domain.message import Role, text_message
from lmchat.domain.request import ChatRequest, Sampling
from lmchat.domain.server import Endpoint, Product
from lmchat.errors import LMChatError
from lmchat.proxy.client import ProxyClient
from tests.support.scripted_server import ScriptedServer


def endpoint_of(server: ScriptedServer) -> Endpoint:
    return Endpoint.parse(server.url)


def ask(
    server: ScriptedServer | Endpoint,
    text: str = "Hi",
    *,
    product=Product.OPENAI_COMPATIBLE,
    model="tiny",
    **more,
):
    endpoint = server if isinstance(server, Endpoint) else endpoint_of(server)
    messages = (text_message(Role.USER, text),)
    return ChatRequest(
        endpoint=endpoint, product=product, model=model, messages=messages, sampling=Sampling(**more)
    )


async def events_of(client: ProxyClient, request: ChatRequest, *, on_event=lambda _: None):
    """Return all events of a stream, and the error that ended it or None."""
    events = []
    try:
        async with aclosing(client.stream(request)) as stream:
            async for event in stream:
                events.append(event)
                on_event(event)
    except LMChatError as error:
        return events, error
    return events, None
