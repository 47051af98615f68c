"""The parts that a command is put together from, each made when first asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from lmchat.cli.options import LEVELS, Options
from lmchat.cli.output import Output
from lmchat.config.loader import Flags, Loaded, load
from lmchat.config.settings import Settings
from lmchat.errors import ConfigError, LMChatError
from lmchat.files import path_of
from lmchat.paths import Paths


class Parts:
    """What one run of the program has: options, folders, settings, and how to make the rest."""

    def __init__(self, options: Options, environ: Mapping[str, str], output: Output) -> None:
        self.options = options
        self.environ = environ
        self.output = output

    @cached_property
    def paths(self) -> Paths:
        """The folders of this user."""
        return Paths.find(self.environ)

    @property
    def config_file(self) -> Path:
        """The configuration file that holds: `--config`, else the usual one."""
        return path_of(self.options.config) if self.options.config else self.paths.config_file

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration with its problems."""
        is_required = self.options.config is not None
        return load(self.config_file, self.environ, self._flags, is_required=is_required)

    @property
    def _flags(self) -> Flags:
        options = self.options
        return Flags(
            endpoint=options.endpoint,
            model=options.model,
            system_prompt=options.system,
            effort=options.effort,
            allowed_hosts=options.allow_hosts,
            profile=options.profile,
        )

    @property
    def usable_settings(self) -> Settings:
        """What of the settings can be used: without those that are wrong, or the whole file."""
        try:
            return self.loaded.settings
        except LMChatError:  # nobody knows where the file is
            return load(Path(os.devnull), self.environ, self._flags).settings

    @property
    def settings(self) -> Settings:
        """The settings; raises `ConfigError` where something is wrong with them."""
        return self.loaded.sound().settings

    @property
    def local_model(self) -> str:
        """The model file that `--model` names for the built-in engine; empty: it names none."""
        named = self.options.model or ""
        is_file = named.lower().endswith(".gguf") and (self.options.local or path_of(named).is_file())
        return named if is_file or self.options.local else ""

    @property
    def is_local(self) -> bool:
        """Whether the built-in engine is meant."""
        return self.options.local or bool(self.local_model)

    def log_level(self) -> str:
        """Return how much is logged; raises `ConfigError` where what is set is no level."""
        level = self.options.log_level or self.environ.get("LMCHAT_LOG_LEVEL", "").lower() or "warning"
        if level not in LEVELS:
            raise ConfigError(
                f"environment variable LMCHAT_LOG_LEVEL: must be one of {', '.join(LEVELS)}, not {level!r}."
            )
        return level

    def start_log(self) -> None:
        """Begin to log."""
        level = self.log_level()
        from lmchat.cli.log_file import start_log

        start_log(self.paths.log_file, level)

    def note_error(self, error: BaseException) -> str:
        """Put an error that nobody expected into the log file; return the id under which it stands there."""
        import logging

        error_id = os.urandom(4).hex()
        logging.getLogger("lmchat.cli").error("unexpected error, id %s", error_id, exc_info=error)
        return error_id

    def unexpected(self, error: Exception) -> LMChatError:
        """Log an error that nobody expected, and return what a person is told."""
        error_id = self.note_error(error)
        return LMChatError(
            f"Something in lmchat itself went wrong (error {error_id}).",
            hint=f"The log file has the details under this id: {self.paths.log_file}",
            kind="bug",
        )
