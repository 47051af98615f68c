"""The output of a command of the user's shell as a file for a prompt."""

from __future__ import annotations

from lmchat.attachments.shell_command import BoundedOutput, ShellCommand
from lmchat.chat.attachments import Attachment, text_attachment
from lmchat.safe_text import decoded_text, safe_line, safe_text
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.units import GAP, size_text

_MAX_NAME_CHARS = 24  # of the command in the name, so that there is room for how it ended


def output_attachment(command: ShellCommand) -> Attachment:
    """Return a command that has ended, with its output and its end, as a text file.

    The text is that of a terminal: the command after `$`, the output, and a line in brackets.
    """
    name = f"$ {safe_line(command.command, limit=_MAX_NAME_CHARS)}"
    if command.ending != "exit code 0":
        name += f", {command.ending}"
    if command.output.left_out_bytes:
        name += f", {_left_out(command.output)}"
    text = f"$ {command.command}\n{_output_text(command.output)}[{command.ending}]\n"
    return text_attachment(name, "text/plain", text.encode())


def output_as_prompt_text(command: ShellCommand) -> str:
    """Return `output_attachment` as part of a prompt."""
    attachment = output_attachment(command)
    part = attachment.part
    return file_as_prompt_text(part.name, part.size, attachment.data.decode())


def _output_text(output: BoundedOutput) -> str:
    """Return an output as safe lines, or a line that says that it is no text.

    Of a long output, only the first and the last bytes were kept. A line in brackets says how many
    are left out between them; half a character at this gap becomes U+FFFD.
    """
    first = bytes(output.first)
    last = bytes(output.last)
    if b"\0" in first + last:
        return "[not text]\n"
    if not output.left_out_bytes:
        return _safe_lines(first + last)
    return f"{_safe_lines(first)}[{_left_out(output)}]\n{_safe_lines(last)}"


def _safe_lines(data: bytes) -> str:
    """Return bytes as safe text, with a line end behind its last line.

    In a prompt, a line such as `notes.md (12 bytes):` and a fence below it begin a file. If the
    output has such lines, a blank makes them different: only the output itself is a file.
    """
    text = safe_text(decoded_text(data)).replace("):\n```", "): \n```")
    return f"{text}\n" if text and not text.endswith("\n") else text


def _left_out(output: BoundedOutput) -> str:
    size = size_text(output.left_out_bytes, is_exact=True)
    return f"{size.replace(GAP, ' ')} left out"
