"""A chat bot with a session for each channel: lines `CHANNEL TEXT` in, answers out."""

import asyncio
import sys
from contextlib import aclosing

from lmchat.api import Ask, Home, LMChatError, MessageAdded, TurnEnded, safe_text

sessions: dict[str, str] = {}  # ids by channel


async def reply(home: Home, channel: str, text: str) -> None:
    prompt = Ask(prompt=text, session_id=sessions.get(channel, ""), options={"max_tokens": 60})
    async with aclosing(home.turn(prompt)) as events:
        async for event in events:
            if isinstance(event, MessageAdded):
                sessions[channel] = event.session_id
            elif isinstance(event, TurnEnded) and event.answer:
                print(f"{channel}: {safe_text(event.answer.text)}", event.error or "")


async def main() -> None:
    async with Home() as home:
        while line := await asyncio.to_thread(sys.stdin.readline):  # in Discord: `on_message`
            channel, _, text = line.strip().partition(" ")
            try:
                await reply(home, channel, text)
            except LMChatError as error:
                print(f"{channel}: {error} {error.next_step}")


asyncio.run(main())
