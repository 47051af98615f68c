"""Context of one run: options, folders, settings and log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from lmchat.app.cli.log_file import start_log
from lmchat.app.cli.options import LEVELS, ParsedOptions
from lmchat.app.cli.screen_settings import keymap_problems, theme_problems
from lmchat.app.terminal.output import Output, ask_yes_no, can_ask
from lmchat.base.errors import ConfigError, LMChatError, WrongUse, log_bug, pythonpath_hint
from lmchat.base.files.disk import expanded_path
from lmchat.base.files.paths import Paths
from lmchat.base.processes.environment import environment_of_programs
from lmchat.core.config.file import Problem
from lmchat.core.config.load import Flags, LoadedSettings, load
from lmchat.core.config.settings import Settings


class Context(Struct, eq=False, dict=True):
    """One run of the program; files are read when an attribute first needs them."""

    options: ParsedOptions
    environ: Mapping[str, str]
    output: Output
    tells_notes: bool = True  # of `loaded`; False: the command itself does

    @cached_property
    def paths(self) -> Paths:
        return Paths.find(self.environ)

    @property
    def config_file(self) -> Path:
        return expanded_path(self.options.config) if self.options.config else self.paths.config_file

    @cached_property
    def loaded(self) -> LoadedSettings:
        """Read the configuration; a missing file is a problem only if `--config` names it."""
        flags = Flags(**{name: getattr(self.options, name) for name in Flags.__struct_fields__})
        is_required = self.options.config is not None
        loaded = load(self.config_file, self.environ, flags, is_required=is_required)
        if self.tells_notes:
            self.output.told = [note.sentence for note in loaded.notes]
            for sentence in self.output.told:
                self.note(sentence)
        return loaded

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Include wrong keyboard keys and themes."""
        loaded = self.loaded
        return (*loaded.problems, *keymap_problems(loaded), *theme_problems(loaded))

    @property
    def settings(self) -> Settings:
        """Raises `ConfigError` for a problem of the configuration.

        Wrong keyboard keys and an unknown theme do not count: the screen starts without them and
        shows a notice.
        """
        return self.loaded.require_valid().settings

    @cached_property
    def environ_of_programs(self) -> Mapping[str, str]:
        return environment_of_programs(self.environ, self.loaded.key_variables)

    @property
    def local_model(self) -> str:
        """Return `--model` if it is for the built-in engine, else "".

        Without `--local`, that is only the path of an existing GGUF file, and nothing beside
        `--endpoint`: some servers name models by such paths.
        """
        model = self.options.model or ""
        if self.options.local:
            return model
        if self.options.endpoint:
            return ""
        # Path.is_file raises for a folder that may not be entered
        is_file = model.lower().endswith(".gguf") and os.path.isfile(  # noqa: PTH113
            expanded_path(model)
        )
        return model if is_file else ""

    @property
    def is_local(self) -> bool:
        return self.options.local or bool(self.local_model)

    @property
    def has_tools(self) -> bool:
        """Whether a tool server is configured and not switched off, or `tools.py` exists."""
        is_configured = not all(server.disabled for server in self.loaded.servers)
        return is_configured or os.path.lexists(self.paths.tools_file)

    def note(self, sentence: str, *details: str) -> None:
        """Print a sentence of lmchat itself on stderr."""
        self.output.note(f"lmchat: {sentence}", *details)

    def start_log(self) -> None:
        """Use the level of `--log-level`, else of `LMCHAT_LOG_LEVEL`, else `warning`.

        Raises `ConfigError` if the variable has an unknown level.
        """
        level_of_environment = self.environ.get("LMCHAT_LOG_LEVEL", "").lower()
        level = self.options.log_level or level_of_environment or "warning"
        if level not in LEVELS:  # the parser has checked the option
            reason = f"must be one of {', '.join(LEVELS)}, not {level!r}"
            raise ConfigError(
                f"environment variable LMCHAT_LOG_LEVEL: {reason}.",
                next_step="Correct or unset LMCHAT_LOG_LEVEL.",
            )
        start_log(self.paths.log_file, level)

    def log_unexpected(self, error: Exception) -> LMChatError:
        """Log an unexpected error; return the one to print, with its id in the log."""
        error_id = log_bug(error)
        next_step = f"The log file has details under this id: {self.paths.log_file}"
        return LMChatError(
            f"lmchat had an internal error (id {error_id}).",
            next_step=f"{next_step} {pythonpath_hint()}".rstrip(),
            kind="bug",
        )


async def confirmed(context: Context, question: str, refusal: str) -> bool:
    """Ask whether something large or final may be done, unless `--yes` says so.

    Raises `WrongUse` with the words of `refusal` without `--yes` and a terminal.
    """
    if context.options.yes:
        return True
    if not can_ask():
        is_chat = not context.options.handler  # it has no such option
        step = "Start it once at a terminal, where it asks." if is_chat else "Confirm with --yes."
        raise WrongUse(refusal, next_step=step)
    return await ask_yes_no(question)
