"""A command of the user's shell, without a terminal.

It runs in a process group of its own, or in a job of Windows, which ends with it, after a time
limit, and with lmchat. It has no input and no controlling terminal, so no program in it can ask for
a password.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Mapping
from pathlib import Path

from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.child import ChildProcess, output_pipe
from lmchat.base.processes.environment import IS_WINDOWS, environment_for_others, find_program
from lmchat.base.safe_text import as_printed, encoding_of, safe_line, safe_text, without_controls
from lmchat.base.units import breakable, size_text
from lmchat.core.attachments.attachment import Attachment, text_attachment

TIME_LIMIT_S = 60.0
MAX_OUTPUT_BYTES = 200_000  # at the end of an output, which are kept
_TERMINATE_S = 1.0  # from SIGTERM to SIGKILL
_INNER_BYTES = bytes(range(0x80, 0xC0))  # of a character in UTF-8, behind its first
_MAX_NAME_CHARS = 24  # of the command in the name of its file, with how it ended


class ShellCommand:
    """A command of the user's shell: `run` runs it, `stop` ends it earlier."""

    def __init__(
        self,
        command: str,
        environ: Mapping[str, str],
        *,
        shell: str = "",
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """The command gets `environ` without lmchat's own variables.

        `shell` is a program that runs the argument after `-c`, or `cmd`; "" is the user's shell.
        Raises `WrongUse` if the command contains characters that cannot be seen.
        """
        if safe_text(command) != command:
            raise WrongUse(
                "The command contains invisible characters, so it was not run.",
                next_step="Type it instead of pasting it.",
            )
        self.command = command
        self._shell = shell
        self._time_limit_s = time_limit_s
        self.output = bytearray()  # the end of output and errors, as they came
        self.left_out_bytes = 0  # before `output`
        self.stopped_text = ""  # `stopped` or `stopped after 60 s` if lmchat ends it
        self._environment = environment_for_others(environ)
        self._child: ChildProcess | None = None  # the shell

    @property
    def ending(self) -> str:
        """`stopped_text`, or the exit code as shells report it; "" if it never ran."""
        code = self._child.exit_code if self._child is not None else None
        if code is None or self.stopped_text:
            return self.stopped_text
        # Python reports signal 9 as -9, shells as 137
        return f"exit code {code if code >= 0 else 128 - code}"

    async def run(self) -> None:
        """Wait until the command and its process group have ended; raise `LMChatError`.

        Cancelling ends them, too.
        """
        with output_pipe(self._receive) as output:
            child = self._child = await self._start(output)
            if self.stopped_text:  # `stop` came while it was starting
                child.stop(_TERMINATE_S)
            # not waited for: a program that has left the group may hold the pipe open
            try:
                async with asyncio.timeout(self._time_limit_s):
                    await child.wait()
            except TimeoutError:
                self.stopped_text = f"stopped after {self._time_limit_s:.0f} s"
                child.stop(_TERMINATE_S)
                await child.wait()
            finally:
                # cancelled, as when lmchat ends, it is killed at once
                if child.exit_code is None:
                    child.kill()
                await child.wait()
                await child.end_group()  # programs that the command has left behind

    def _receive(self, data: bytes) -> None:
        self.output += data
        surplus = max(len(self.output) - MAX_OUTPUT_BYTES, 0)
        del self.output[:surplus]
        self.left_out_bytes += surplus

    async def _start(self, output: int) -> ChildProcess:
        """Raises `LMChatError`."""
        program = self._shell_program()
        argv, shell = [program, "-c", self.command], None
        if not program or Path(program).stem.lower() == "cmd":  # the system knows what these take
            argv, shell = [self.command], program
        try:
            child = await ChildProcess.start(
                argv,
                environment=self._environment,
                output=output,
                errors=output,
                shell=shell,
            )
        except OSError as error:
            raise LMChatError(
                f"The command cannot start: {error.strerror or error}.",
                next_step="Shorten the command, or close other programs.",
                kind="program",
            ) from error
        child.close_input()
        return child

    def _shell_program(self) -> str:
        """Return "" for that of the system; raises `LMChatError`."""
        if not self._shell:
            # only an absolute $SHELL: no folder is searched; on Windows, it is that of another
            # system
            return "" if IS_WINDOWS else find_program(self._environment.get("SHELL", ""), "")
        search_path = self._environment.get("PATH", os.defpath)
        program = find_program(str(expanded_path(self._shell)), search_path)
        if not program:
            raise LMChatError(
                f"The shell {safe_line(self._shell)} is not found.",
                next_step="Correct `shell` in the section [chat] of config.toml.",
                kind="program",
            )
        return program

    def stop(self) -> None:
        """Begin ending the command and its group, or do so as soon as it has started."""
        self.stopped_text = "stopped"
        if self._child is not None:
            self._child.stop(_TERMINATE_S)


def output_attachment(command: ShellCommand) -> Attachment:
    """Write an ended command as a terminal shows it: after `$`, then the output."""
    name = f"$ {safe_line(command.command, limit=_MAX_NAME_CHARS)}"
    if command.ending != "exit code 0":
        name += f", {command.ending}"
    text = f"$ {command.command}\n"
    if command.left_out_bytes:
        size = breakable(size_text(command.left_out_bytes, is_exact=True))
        name += f", {size} left out"
        text += f"[{size} left out]\n"
    output = bytes(command.output)
    if command.left_out_bytes:
        output = output.lstrip(_INNER_BYTES)
    if b"\0" in output:
        text += "[not text]"
    else:
        text += without_controls(as_printed(_printed_text(output)))
    text = text.removesuffix("\n") + f"\n[{command.ending}]\n"
    return text_attachment(name, "text/plain", text.encode())


def _printed_text(output: bytes) -> str:
    """Programs of Windows print the code page of a console, or UTF-8."""
    if not IS_WINDOWS:
        return output.decode(encoding_of(output) or "utf-8", "replace")
    try:
        return codecs.utf_8_decode(output)[0]  # without half a character at its end
    except UnicodeDecodeError:
        return output.decode("oem", "replace")
