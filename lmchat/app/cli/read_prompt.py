"""The prompt of a command: arguments, standard input, presets, files, options, wanted answer."""

from __future__ import annotations

import asyncio
import sys

from lmchat.app.cli.context import Context
from lmchat.app.commands.shared import filled_preset, preset_named
from lmchat.app.terminal.clipboard import Clipboard
from lmchat.app.terminal.output import (
    ask_yes_no,
    call_with_stdin,
    can_ask,
    has_piped_input,
    is_terminal,
    stdin_unreadable,
)
from lmchat.base.errors import WrongUse
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line, shell_word
from lmchat.core.answers.json_schema import SchemaOutput, read_schema, strict_json
from lmchat.core.attachments.attachment import MAX_READ_BYTES, Attachment
from lmchat.core.attachments.dropped_files import mentioned_files
from lmchat.core.attachments.file_sets import FileSet
from lmchat.core.attachments.given_files import GivenFiles, Question, read_piped
from lmchat.core.chat.settings import SamplingLayers
from lmchat.core.servers.sampling_options import checked_option, parsed_value

_STDIN = "stdin"  # name of what is piped in
_STDIN_NAMES = ("-", "/dev/stdin")  # of `--file`, and as the prompt
_QUIET_S = 2.0  # then a line says what is waited for


async def prompt_of(context: Context, files: list[Attachment] | None = None) -> str:
    """Return the argument, an empty line and the text on stdin, but for what is blank.

    A preset (`--preset`) is filled in with that text. An image or a PDF on stdin is added to
    `files`. Raises `WrongUse` for an empty prompt without files, an image or a PDF without `files`,
    and what is no text.
    """
    options = context.options
    data = await piped_data(context, MAX_READ_BYTES) if has_piped_input() else b""
    if len(data) > MAX_READ_BYTES:
        raise WrongUse(
            f"{_STDIN} has more than {MAX_READ_BYTES // 1_000_000} MB.",
            next_step="Pipe in the part you need.",
        )
    piped_text, found, left_out = await read_piped(_STDIN, data)
    if found is not None:
        if files is None:
            raise WrongUse(
                "stdin has an image or a PDF, which only `lmchat ask` takes.",
                next_step="Pipe in its text.",
            )
        files.append(found)
    if left_out:
        context.note(f"{_STDIN}: {left_out}.")
    texts = ("" if options.prompt in _STDIN_NAMES else options.prompt, piped_text)
    prompt = "\n\n".join(text for text in texts if text.strip())
    if options.preset is not None:
        prompt = await preset_prompt(context, options.preset, prompt)
    if not prompt and not {*options.files} - {*_STDIN_NAMES} and not files:
        raise WrongUse(
            "The prompt is empty.", next_step='Pass a prompt: lmchat ask "PROMPT", or pipe one in.'
        )
    return prompt


async def piped_data(context: Context, most_bytes: int) -> bytes:
    """Return one byte more of stdin if there are more; say on a terminal if its end takes long.

    Raises `WrongUse`.
    """

    def say_more() -> None:
        if is_terminal(sys.stderr):
            text = "waiting for the end of stdin; add </dev/null if nothing is piped in."
            context.note(text)

    waiting = asyncio.get_running_loop().call_later(_QUIET_S, say_more)
    try:
        # Python could not exit while an abandoned thread reads `sys.stdin`
        data = await run_abandonable(
            lambda: call_with_stdin(lambda file: file.read(most_bytes + 1))
        )
    except OSError as error:
        raise stdin_unreadable(error) from error
    finally:
        waiting.cancel()
    return data


def preset_text(context: Context) -> str:
    """Return the text of `--preset` with its placeholders, or ""; raises `WrongUse`."""
    name = context.options.preset
    return "" if name is None else preset_named(context.settings.prompts, name).text


async def preset_prompt(context: Context, name: str, typed: str) -> str:
    """Raises `WrongUse` for an unknown preset, or one that needs more than was typed."""
    clipboard = Clipboard(context.environ_of_programs)
    return await filled_preset(context.settings.prompts, name, typed, clipboard.paste)


def given_files(context: Context) -> GivenFiles:
    async def confirm(question: Question) -> bool:
        if context.options.yes:
            return True
        if question.refusal is not None and not can_ask():
            raise question.refusal
        return await ask_yes_no(f"Attach {question.text}?")

    return GivenFiles(context.settings, confirm, is_typed=True)


async def read_given_files(
    context: Context, given: GivenFiles
) -> tuple[list[Attachment], list[FileSet]]:
    """Read the files, pages of allowed hosts, folders and patterns of `--file`.

    The files of folders and patterns are in the list of files, too. Notes say what was left out,
    and which files the prompt only names.
    """
    options = context.options
    note = context.note
    files: list[Attachment] = []
    sets: list[FileSet] = []
    for name in options.files:
        if name in _STDIN_NAMES:  # `prompt_of` reads it
            if not has_piped_input():
                raise WrongUse("Nothing is piped in.", next_step="Name a file.")
            continue
        named, found = await given.named(name)
        files += named
        left_out = named[0].part.left_out
        if found is not None:
            sets.append(found)
            left_out = found.label
        if left_out:
            note(f"{name}: {left_out}.")
    # of what is typed here: a name in a pipe is hardly meant
    for name in (await mentioned_files(options.prompt, options.files)).values():
        note(f"{safe_line(name)} is only named; -f {shell_word(name)} attaches it.")
    return files, sets


async def wanted_value(context: Context) -> SchemaOutput | None:
    """Read the value of `--schema`: the schema itself, or its file; raises `WrongUse`."""
    given = context.options.schema
    if given is None:
        return None
    if given.lstrip().startswith("{"):
        try:
            wanted = SchemaOutput(strict_json(given))
        except ValueError as error:
            raise WrongUse(
                f"The schema is not valid JSON: {error}.", next_step="Correct it, or name a file."
            ) from error
    else:
        path = expanded_path(given)
        wanted = await run_abandonable(lambda: read_schema(path))  # a pipe may have no end
    if wanted.note:
        context.note(f"{wanted.note}.")
    return wanted


def sampling_layers(context: Context) -> SamplingLayers:
    """Return sampling options by the place that sets them; raise `WrongUse` for a wrong `--set`."""
    values: dict[str, object] = {}
    for text in context.options.sampling:
        name, equals_sign, value = text.partition("=")
        if not name.strip() or not equals_sign:
            raise WrongUse(
                f"--set needs NAME=VALUE, not “{text}”.", next_step="Example: --set top_k=40"
            )
        values[name.strip()] = checked_option(name.strip(), parsed_value(value.strip()))
    return SamplingLayers.of(context.loaded, context.options.profile or "", values)
