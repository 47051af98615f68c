"""Prompts that lmchat writes: those of presets, and those for titles of sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date

from msgspec.structs import replace

from lmchat.config.settings import Preset
from lmchat.domain.message import AnswerState, Role, text_message
from lmchat.domain.request import ChatRequest
from lmchat.domain.session import MessagePath, SessionHeader, title_from
from lmchat.domain.turn import WholeAnswer
from lmchat.errors import WrongUse
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.ports import ServerClient
from lmchat.text import safe_line

_ADD = "Add [prompts.NAME] to config.toml and start lmchat again."
_PLACEHOLDER = re.compile(r"\{\{ *(input|clipboard|date) *\}\}")
_TITLE_TIMEOUT_S = 60.0
_TITLE_TOKENS = 1000  # enough for a model that thinks first
_QUOTED_CHARS = 2000  # of prompt and of answer that the model sees
_TITLE_REQUEST = (
    "Write a title of at most six words, in the language of the prompt, "
    "for a chat that begins as follows. "
    "Answer with the title alone.\n\nPrompt: {prompt}\n\nAnswer: {answer}"
)


async def filled(
    presets: Mapping[str, Preset], name: str, typed: str, paste: Callable[[], Awaitable[str]]
) -> str:
    """Return the prompt that a preset makes of what was typed; raises `WrongUse` if it cannot.

    Input follows the text, after a blank line, where the preset has no place for it. `paste` is
    called only where the clipboard is wanted. What is filled in is not filled again.
    """
    preset = presets.get(name)
    if preset is None:
        raise _unknown_preset(name, presets)
    wanted = set(_PLACEHOLDER.findall(preset.text))
    has_input = bool(typed.strip())
    if "input" in wanted and not has_input:
        raise WrongUse(f"The preset {name} needs a text.", hint="Type it after the name.")
    values = {
        "input": typed,
        "date": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - the user's day
        "clipboard": await paste() if "clipboard" in wanted else "",
    }
    prompt = _PLACEHOLDER.sub(lambda found: values[found[1]], preset.text)
    if has_input and "input" not in wanted:
        return f"{prompt.rstrip()}\n\n{typed}"
    return prompt


def _unknown_preset(name: str, presets: Mapping[str, Preset]) -> WrongUse:
    words = f"Unknown preset: {safe_line(name, limit=40)}." if name else "Type a name after /p."
    hint = f"Configured: {', '.join(presets)}." if presets else _ADD
    return WrongUse(words, hint=safe_line(hint))


def is_named_by_prompt(header: SessionHeader, path: MessagePath) -> bool:
    """Return whether a session has its first answer, and still the title made of its prompt."""
    prompts = [message for message in path if message.role is Role.USER]
    if len(prompts) != 1 or path[-1].role is not Role.ASSISTANT:
        return False
    return path[-1].state is AnswerState.COMPLETE and header.title == title_from(prompts[0].text)


async def title_by_model(backend: ServerClient, path: MessagePath, settings: TurnSettings) -> str:
    """Ask the model for a title; empty if it gives none. Raises `LMChatError` or `TimeoutError`."""
    prompt = next(message for message in path if message.role is Role.USER)
    words = _TITLE_REQUEST.format(
        prompt=prompt.text[:_QUOTED_CHARS], answer=path[-1].text[:_QUOTED_CHARS]
    )
    request = ChatRequest(
        endpoint=settings.target.endpoint,
        product=settings.target.product,
        model=settings.target.model_id,
        messages=(text_message(Role.USER, words),),
        sampling=replace(settings.sampling, max_tokens=_TITLE_TOKENS, stop=()),
    )
    answer = WholeAnswer(request.model)
    async with asyncio.timeout(_TITLE_TIMEOUT_S):
        await answer.read(backend.stream(request))
    title = answer.growing.text("text").strip().removeprefix("Title:").strip("\"'“”„*. \n")
    return title_from(title) if title else ""
