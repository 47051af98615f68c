"""The prompt of a command: arguments, standard input, presets, files, and the wanted answer."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

from lmchat.answers.json_schema import WantedValue, read_schema
from lmchat.attachments.attachment import Attachment, read_attachment
from lmchat.attachments.file_sets import FileSet, parse_set_name, read_set
from lmchat.attachments.web_page import WebPages, is_page_address, refuse_host
from lmchat.cli.context import Context
from lmchat.cli.options import ParsedOptions
from lmchat.commands.shared import filled_preset, set_question
from lmchat.errors import WrongUse
from lmchat.files.disk import expanded_path
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import decoded_text
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import ask_yes_no, call_with_stdin, can_ask, has_piped_input


async def prompt_of(context: Context) -> str:
    """Return the prompt of the command line.

    The prompt is the argument, an empty line and the text on stdin, or only one of the two if the
    other is blank. If `--preset` names a preset, the prompt is this preset, filled in with that
    text. Raises `WrongUse` if the prompt is empty and no file is attached.
    """
    options = context.options
    piped_text = ""
    if has_piped_input():
        # not by `sys.stdin`: Python could not exit while an abandoned thread reads it
        data = await run_abandonable(lambda: call_with_stdin(BufferedReader.read))
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
    return await filled_preset(context.settings.prompts, name, typed, clipboard.paste)


async def read_named(pages: WebPages, name: str) -> Attachment | FileSet:
    """Read what a name means: a page, a file, or the text files of a folder or a pattern.

    Only pages of hosts that the options or the settings allow are downloaded.
    """
    if is_page_address(name):
        return await pages.attachment(name, "", refuse_host)
    set_name = await parse_set_name(name, Path.cwd())  # None if the name means a single file
    return await (read_attachment(expanded_path(name)) if set_name is None else read_set(set_name))


async def require_consent_to_set(found: FileSet, window: int | None) -> None:
    """Ask whether a large set of files is attached; raises `WrongUse` unless the answer is yes.

    A set is large by itself, or in relation to `window`, the size of the context window in tokens;
    None if that is unknown.
    """
    if not found.needs_consent(window):
        return
    question = set_question(found)
    if not can_ask() and question.refusal is not None:
        raise question.refusal
    if not await ask_yes_no(f"Attach {found.words}?"):
        raise WrongUse("The files were not attached.", hint="Name a smaller folder or a pattern.")


def wanted_value(options: ParsedOptions) -> WantedValue | None:
    """Return the value that `--schema` asks for; raises `WrongUse` for a wrong file."""
    return None if options.schema is None else read_schema(expanded_path(options.schema))
