"""Commands that the screen and the plain chat run alike, and what they need of either."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Protocol, TypeVar

from lmchat.base.errors import WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.attachments.attachment import Attachment, ClipboardReader
from lmchat.core.attachments.given_files import GivenFiles
from lmchat.core.chat.events import MessageAdded
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.settings import LEVELS, NO_PROFILE
from lmchat.core.config.settings import Preset, Settings
from lmchat.core.servers.sampling_options import COMMON
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.prompts import without_file_lines

_PLACEHOLDER = re.compile(r"\{\{ *(input|clipboard|date) *\}\}")  # as in "Translate: {{input}}"
NAMED_ONLY = "Named in the prompt, but not attached."
_Block = TypeVar("_Block")


class CodeRing:
    """Position among the code blocks of a message; behind the last comes the first."""

    def __init__(self) -> None:
        self._message_id = ""
        self._index = 0

    def take(
        self, message: ChatMessage, blocks: Sequence[_Block], clicked: int | None = None
    ) -> tuple[_Block, str]:
        """Return the next block, or the clicked one, and of several which it is."""
        next_index = self._index + 1 if message.message_id == self._message_id else 0
        self._message_id = message.message_id
        self._index = (next_index if clicked is None else clicked) % len(blocks)
        place = f"Block {self._index + 1} of {len(blocks)}" if len(blocks) > 1 else ""
        return blocks[self._index], place


def copy_command(part: str) -> str:
    """Return the command on a message that `/copy` and `/copy code` run; raise `WrongUse`."""
    if part not in ("", "code"):
        raise WrongUse(
            f"Unknown argument: {safe_line(part, limit=40)}.", next_step="Use /copy or /copy code."
        )
    return "message.copy_code" if part else "message.copy"


ReadFiles = Callable[[], Awaitable[Sequence[Attachment]]]


class Front(Protocol):
    """The screen, or the plain chat."""

    chat: ChatService
    settings: Settings
    given: GivenFiles

    @property
    def clipboard(self) -> ClipboardReader: ...

    def notify(self, text: str, /) -> None: ...

    async def ask(self, title: str, use: Callable[[str], Awaitable[None]]) -> None:
        """Ask for a text until it can be used; a front without dialogs raises `WrongUse`."""

    async def choose(self, title: str, rows: Sequence[tuple[str, str]], nothing: str) -> str:
        """Return the first text of the row that the user chooses, or ""."""

    async def run_turn(self, start: Callable[[], None]) -> None: ...

    async def send(self, text: str, /) -> None: ...

    async def attach(self, name: str, read: ReadFiles) -> None:
        """Attach files to the next prompt; `name` is what they were named by."""

    async def use_model(self, name: str) -> None: ...


async def _regenerate(front: Front, message: ChatMessage) -> None:
    await front.run_turn(partial(front.chat.regenerate, front.chat.active, message))


async def _continue_answer(front: Front, message: ChatMessage) -> None:
    await front.run_turn(partial(front.chat.continue_answer, front.chat.active, message))


async def _compact(front: Front, _: str) -> None:
    await front.run_turn(partial(front.chat.compact, front.chat.active))


# Settings of the next answers


async def _change_system_prompt(front: Front, text: str) -> None:
    session = front.chat.active
    message = await session.set_system_prompt(text)
    if message is not None:
        front.chat.reporter.report(session, MessageAdded(message, session.session_id))
    front.notify("System prompt changed.")


async def _start_answer(front: Front, text: str) -> None:
    """Let the next answer start with a text; without one, take back the earlier one."""
    session = front.chat.active
    if not text and not session.prefill_text:
        await front.ask("Begin the next answer with which text?", partial(_start_answer, front))
        return
    session.set_prefill(text, front.chat.turn_options.target)
    front.notify(f"The next answer begins {'with your text' if text else 'as usual'}.")


async def _use_profile(front: Front, name: str) -> None:
    choices = front.chat.turn_options
    profiles = front.settings.profiles
    if not name:
        rows = [(profile, "") for profile in (*profiles, NO_PROFILE) if profiles]
        name = await front.choose(
            f"Profiles. In use: {choices.layers.profile_name or NO_PROFILE}",
            rows,
            "No profiles: add [profiles.NAME] to config.toml.",
        )
    if name:
        profile = choices.use_profile(name, profiles)
        used = safe_line(choices.layers.profile_name or NO_PROFILE, limit=20)
        is_later = profile.system_prompt and front.chat.active.messages
        later = " Its system prompt begins with the next session." if is_later else ""
        front.notify(f"Profile: {used}.{later}")
        if profile.model:
            await front.use_model(profile.model)


async def _use_effort(front: Front, level: str) -> None:
    choices = front.chat.turn_options
    sampling = front.chat.active.session_sampling
    if not level:
        used = choices.effort_text(sampling)
        title = f"Reasoning effort (or /effort TOKENS). In use: {used}"
        rows = [(level, "in use" if level == used else "") for level in LEVELS]
        level = await front.choose(title, rows, "")
    if level:
        choices.use_effort(level)
        front.notify(f"Reasoning effort: {choices.effort_text(sampling)}.")


async def _set_option(front: Front, typed: str) -> None:
    """`typed` may be `top_k 40`, a name alone, which is explained, or "", which lists all."""
    chat = front.chat
    session = front.chat.active
    if typed:
        front.notify(await chat.turn_options.set_typed(session, typed))
        return
    texts = {
        option: f"{value} ({origin})"
        for option, value, origin in chat.turn_options.option_rows(session)
    }
    rows = [(name, texts.get(name, "not set")) for name in dict.fromkeys((*texts, *COMMON))]
    name = await front.choose("Sampling", rows, "")
    if name:
        await front.ask(
            f"Change {name}; default sends none",
            lambda value: _set_option(front, f"{name} {value}"),
        )


# Presets: prompts of the configuration that are sent by their names


async def _use_preset(front: Front, typed: str) -> None:
    """Without a name, the user chooses."""
    presets = front.settings.prompts
    name, _, text = typed.partition(" ")
    if not name:
        rows = [(preset, safe_line(presets[preset].text, limit=40)) for preset in presets]
        name = await front.choose("Presets", rows, "No presets: add [prompts.NAME] to config.toml.")
    if name and not text and "input" in _placeholders(preset_named(presets, name)):
        send = partial(_send_preset, front, name)
        await front.ask(f"The preset {name} needs a text.", send)
    elif name:
        await _send_preset(front, name, text.strip())


async def _send_preset(front: Front, name: str, text: str) -> None:
    await front.send(await filled_preset(front.settings.prompts, name, text, front.clipboard.paste))


async def filled_preset(
    presets: Mapping[str, Preset],
    name: str,
    typed: str,
    read_clipboard: Callable[[], Awaitable[str]],
) -> str:
    """Return the text of the preset `name` with its placeholders filled in.

    `typed` takes the place of {{input}}; without this placeholder, it follows after a blank line.
    `read_clipboard` is called only for {{clipboard}}. A placeholder in an inserted text stays.
    Raises `WrongUse` for an unknown name, or if {{input}} has no text.
    """
    preset = preset_named(presets, name)
    placeholders = _placeholders(preset)
    has_input = bool(typed.strip())
    if "input" in placeholders and not has_input:
        raise WrongUse(f"The preset {name} needs a text.", next_step="Type it after the name.")

    values = {
        "input": typed,
        "date": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - the user's day
    }
    if "clipboard" in placeholders:
        # without marks of files, which would attach files unseen
        values["clipboard"] = without_file_lines(await read_clipboard())
    prompt = _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], preset.text)
    if has_input and "input" not in placeholders:
        return f"{prompt.rstrip()}\n\n{typed}"
    return prompt


def _placeholders(preset: Preset) -> set[str]:
    return set(_PLACEHOLDER.findall(preset.text))


def preset_named(presets: Mapping[str, Preset], name: str) -> Preset:
    """Raises `WrongUse`."""
    if name in presets:
        return presets[name]
    next_step = "Add [prompts.NAME] to config.toml and start lmchat again."
    if presets:
        next_step = f"Configured: {safe_line(', '.join(presets))}."
    raise WrongUse(f"Unknown preset: {safe_line(name, limit=40)}.", next_step=next_step)


# Files for the next prompt


async def _attach_file(front: Front, name: str) -> None:
    await front.attach(name, partial(_read_named, front, name))


async def _read_named(front: Front, name: str) -> Sequence[Attachment]:
    files, found = await front.given.named(name, front.chat.active.session_id)
    if found is not None:
        target = front.chat.turn_options.target
        await front.given.require_consent_to(found, target.context if target else None)
        front.notify(f"Attached: {found.label}.")
    return files


async def _paste(front: Front, _: str) -> None:
    await front.attach("the clipboard", partial(front.given.copied, front.clipboard))


SHARED: Mapping[str, Callable[[Front, str], Awaitable[None]]] = {
    "compact": _compact,
    "system": _change_system_prompt,
    "start": _start_answer,
    "profile": _use_profile,
    "effort": _use_effort,
    "set": _set_option,
    "preset": _use_preset,
    "file": _attach_file,
    "paste": _paste,
}
SHARED_ON_MESSAGE: Mapping[str, Callable[[Front, ChatMessage], Awaitable[None]]] = {
    "message.regenerate": _regenerate,
    "message.resume": _continue_answer,
}
