"""The prompt of a command: arguments, standard input and presets."""

from __future__ import annotations

import asyncio
import sys
from io import BufferedReader

from lmchat.attachments.attachment import PastedFrom
from lmchat.cli.context import Context
from lmchat.config.presets import filled
from lmchat.errors import WrongUse
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import decoded_text
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import Output, from_stdin

_NOTE_AFTER_S = 2.0  # a note explains a wait for standard input that takes longer


async def prompt_of(context: Context) -> str:
    """Return the prompt of the command line.

    It is the argument, a blank line and the text on stdin; a blank one of the two is left out. If
    `--preset` names a preset, this text is its input and the filled preset is returned. Raises
    `WrongUse` if the prompt is empty and no file is attached.
    """
    options = context.options
    piped_text = await _read_piped_text(context.output)
    prompt = "\n\n".join(text for text in (options.prompt, piped_text) if text.strip())
    if options.preset is not None:
        prompt = await preset_prompt(context, options.preset, prompt)
    if not prompt and not options.files:
        hint = 'Pass a prompt: lmchat ask "PROMPT", or pipe one in.'
        raise WrongUse("The prompt is empty.", hint=hint)
    return prompt


async def preset_prompt(context: Context, name: str, typed: str) -> str:
    """Return the text of the preset with this name, filled in with the typed text.

    Raises `WrongUse` for an unknown preset, or one that needs more than was typed.
    """
    return await filled(context.settings.prompts, name, typed, clipboard_of(context).paste)


def clipboard_of(context: Context) -> PastedFrom:
    """Return the clipboard to paste from."""
    return Clipboard(context.environ_of_programs)


async def _read_piped_text(output: Output) -> str:
    """Return the text on stdin, read to its end, without line ends at its end.

    Return an empty text if stdin is a terminal or missing. A note at a terminal explains a longer
    wait: stdin may be open without an end, as in a shell loop that reads lines from it.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return ""

    def note_waiting() -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            words = "reading standard input until it ends; add </dev/null to ask without it."
            output.note(f"lmchat: {words}")

    note_timer = asyncio.get_running_loop().call_later(_NOTE_AFTER_S, note_waiting)
    data = await run_abandonable(lambda: from_stdin(BufferedReader.read))
    note_timer.cancel()
    return decoded_text(data).rstrip("\n")
