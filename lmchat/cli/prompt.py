"""The prompt of a command: arguments, standard input and presets."""

from __future__ import annotations

import sys
from io import BufferedReader

from lmchat.cli.context import Context
from lmchat.config.presets import filled
from lmchat.errors import WrongUse
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import decoded_text
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import from_stdin


async def prompt_of(context: Context) -> str:
    """Return the prompt of the command line.

    It is the argument, a blank line and the text on stdin; a blank one of the two is left out. If
    `--preset` names a preset, this text is its input and the filled preset is returned. Raises
    `WrongUse` if the prompt is empty and no file is attached.
    """
    options = context.options
    piped_text = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        data = await run_abandonable(lambda: from_stdin(BufferedReader.read))
        piped_text = decoded_text(data).rstrip("\n")
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
    clipboard = Clipboard(context.environ_of_programs)
    return await filled(context.settings.prompts, name, typed, clipboard.paste)
