"""The output of a command of the user's shell as a file for a prompt."""

from __future__ import annotations

from lmchat.domain.attached_files import file_as_prompt_text
from lmchat.machine.shell_command import BoundedOutput, Ending, ShellCommand
from lmchat.services.attachments import Attachment, text_attachment
from lmchat.text import GAP, decoded_text, safe_line, safe_text, size_text

_MAX_NAME_CHARS = 28  # of the command in the name: behind it, the folded block says how it ended


def output_attachment(command: ShellCommand) -> Attachment:
    """Return a command that has ended, with its output and its end, as a text file.

    The text is that of a terminal: the command after `$`, the output, and a line in brackets.
    """
    ending = ending_words(command)
    name = f"$ {safe_line(command.command, limit=_MAX_NAME_CHARS)}"
    if ending != "exit code 0":
        name += f", {ending}"
    text = f"$ {command.command}\n{_output_text(command.output)}[{ending}]\n"
    return text_attachment(name, "text/plain", text.encode())


def output_as_prompt_text(command: ShellCommand) -> str:
    """Return `output_attachment` as part of a prompt."""
    attachment = output_attachment(command)
    part = attachment.part
    return file_as_prompt_text(part.name, part.size, attachment.data.decode())


def ending_words(command: ShellCommand) -> str:
    """Return how a command has ended, such as `exit code 2`."""
    match command.ending:
        case Ending.STOPPED:
            return "stopped"
        case Ending.TIMED_OUT:
            return f"stopped after {command.time_limit_s:.0f} s"
        case Ending.BY_ITSELF:
            return f"exit code {command.exit_code}"


def left_out_note(command: ShellCommand) -> str:
    """Return a sentence about the middle of an output that is too long; else an empty text."""
    size = command.output.left_out_bytes
    return f"The output is too long: {_size(size)} in its middle are left out." if size else ""


def _output_text(output: BoundedOutput) -> str:
    """Return an output as safe lines, or a line that says that it is no text.

    A character that was cut at the middle, which is left out, becomes U+FFFD.
    """
    first = bytes(output.first)
    last = bytes(output.last)
    if b"\0" in first + last:
        all_bytes = len(first) + output.left_out_bytes + len(last)
        return f"[{_size(all_bytes)} that are not text]\n"
    if not output.left_out_bytes:
        return _safe_lines(first + last)
    note = f"[{_size(output.left_out_bytes)} left out]\n"
    return _safe_lines(first) + note + _safe_lines(last)


def _safe_lines(data: bytes) -> str:
    """Return bytes as safe text, with a line end behind its last line.

    A blank is added to a line that would begin a file in a prompt: only the output itself is one.
    """
    text = safe_text(decoded_text(data)).replace("):\n```", "): \n```")
    return f"{text}\n" if text and not text.endswith("\n") else text


def _size(size_bytes: int) -> str:
    return size_text(size_bytes, is_exact=True).replace(GAP, " ")
