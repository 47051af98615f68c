"""The prompt of a command: arguments, standard input and presets."""

from __future__ import annotations

import asyncio
import sys
from io import BufferedReader

from lmchat.cli.context import Context
from lmchat.cli.output import Output
from lmchat.cli.questions import from_stdin
from lmchat.errors import WrongUse
from lmchat.text import decoded_text
from lmchat.threads import run_abandonable

_NOTE_AFTER_S = 2.0  # of waiting for standard input


async def prompt_of(context: Context) -> str:
    """Return the prompt of the arguments and of stdin; raises `WrongUse` without one."""
    options = context.options
    piped = await _piped_text(context.output)
    prompt = "\n\n".join(text for text in (options.prompt, piped) if text.strip())
    if options.preset is not None:
        prompt = await preset_prompt(context, options.preset, prompt)
    if not prompt and not options.files:
        hint = 'Pass a prompt: lmchat ask "PROMPT", or pipe one in.'
        raise WrongUse("The prompt is empty.", hint=hint)
    return prompt


async def preset_prompt(context: Context, name: str, typed: str) -> str:
    """Return the prompt that a preset makes of what was typed; raises `WrongUse` if it cannot."""
    from lmchat.services.prompts import filled
    from lmchat.terminal.clipboard import Clipboard

    clipboard = Clipboard(
        environ=context.environ_of_programs, write=lambda _: False, file=context.copied_file
    )
    return await filled(context.settings.prompts, name, typed, clipboard.paste)


async def _piped_text(output: Output) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    note = asyncio.get_running_loop().call_later(_NOTE_AFTER_S, _note_waiting, output)
    piped = await run_abandonable(lambda: from_stdin(BufferedReader.read))
    note.cancel()
    return decoded_text(piped).rstrip("\n")


def _note_waiting(output: Output) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        words = "reading standard input until it ends; add </dev/null to ask without it."
        output.note(f"lmchat: {words}")
