"""Context of one run: options, folders, settings and log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from lmchat.cli.log_file import start_log
from lmchat.cli.options import LEVELS, ParsedOptions
from lmchat.commands.table import BY_ID, Scope
from lmchat.config.file import Problem, line_of
from lmchat.config.load import Flags, LoadedSettings, load
from lmchat.config.settings import Settings
from lmchat.errors import ConfigError, LMChatError, WrongUse, log_bug
from lmchat.files.disk import expanded_path
from lmchat.files.paths import Paths
from lmchat.matching import did_you_mean
from lmchat.processes.environment import environment_for_others
from lmchat.terminal.output import Output, ask_yes_no, can_ask

_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}  # of keyboard keys
_PROMPT_KEYS = ("enter", "up", "down", "left", "right", "home", "end")  # and characters


class Context:
    """One run of the program: options, folders, settings and log.

    Files are read when an attribute first needs them.
    """

    def __init__(self, options: ParsedOptions, environ: Mapping[str, str], output: Output) -> None:
        self.options = options
        self.environ = environ
        self.output = output

    @cached_property
    def paths(self) -> Paths:
        return Paths.find(self.environ)

    @property
    def config_file(self) -> Path:
        return expanded_path(self.options.config) if self.options.config else self.paths.config_file

    @cached_property
    def loaded(self) -> LoadedSettings:
        """The configuration with its problems, from options, environment and file.

        A missing file is a problem only if `--config` names it.
        """
        # each field of `Flags` has the name of an option
        flags = Flags(**{name: getattr(self.options, name) for name in Flags.__struct_fields__})
        is_required = self.options.config is not None
        return load(self.config_file, self.environ, flags, is_required=is_required)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems of the configuration, also those of its keyboard keys and its theme."""
        loaded = self.loaded
        return (*loaded.problems, *keymap_problems(loaded), *_theme_problems(loaded))

    @property
    def settings(self) -> Settings:
        """The settings; raises `ConfigError` if the configuration has a problem.

        Wrong keyboard keys and an unknown theme do not count here: the screen starts without them
        and shows a notice.
        """
        return self.loaded.require_valid().settings

    @cached_property
    def environ_of_programs(self) -> Mapping[str, str]:
        """The environment variables that programs started by lmchat get.

        The API keys of lmchat, of the configured servers and of the tool servers are left out.
        """
        settings = self.loaded.settings
        key_variables = {endpoint.api_key_env for endpoint in settings.endpoints}
        for server in settings.mcp:
            if server.headers_env:
                key_variables.update(server.headers_env.values())
        environment = environment_for_others(self.environ)
        return {name: value for name, value in environment.items() if name not in key_variables}

    @property
    def local_model(self) -> str:
        """The value of `--model` if it is for the built-in engine, else an empty text.

        With `--local`, every value is for the engine. Without it, only the path of an existing GGUF
        file is for the engine; every other value is the name of a server's model.
        """
        model = self.options.model or ""
        if self.options.local:
            return model
        # Path.is_file would raise an error for a folder that may not be entered
        is_file = model.lower().endswith(".gguf") and os.path.isfile(  # noqa: PTH113
            expanded_path(model)
        )
        return model if is_file else ""

    @property
    def is_local(self) -> bool:
        """Whether the built-in engine answers: because of `--local`, or of a GGUF file in `-m`."""
        return self.options.local or bool(self.local_model)

    @property
    def has_tools(self) -> bool:
        """Whether a tool server is configured and not switched off, or `tools.py` exists."""
        is_configured = any(server.enabled for server in self.loaded.settings.mcp)
        return is_configured or self.paths.tools_file.is_file()

    def start_log(self) -> None:
        """Write log records to the log file from now on.

        The level is that of `--log-level`, else of `LMCHAT_LOG_LEVEL`, else `warning`. Raises
        `ConfigError` if the variable has an unknown level.
        """
        level_of_environment = self.environ.get("LMCHAT_LOG_LEVEL", "").lower()
        level = self.options.log_level or level_of_environment or "warning"
        if level not in LEVELS:  # it comes from the variable: the parser has checked the option
            reason = f"must be one of {', '.join(LEVELS)}, not {level!r}"
            raise ConfigError(
                f"environment variable LMCHAT_LOG_LEVEL: {reason}.",
                hint="Correct or unset LMCHAT_LOG_LEVEL.",
            )
        start_log(self.paths.log_file, level)

    def log_unexpected(self, error: Exception) -> LMChatError:
        """Log an unexpected error; return an error to print, which names its id in the log."""
        error_id = log_bug(error)
        return LMChatError(
            f"lmchat had an internal error (id {error_id}).",
            hint=f"The log file has details under this id: {self.paths.log_file}",
            kind="bug",
        )


async def is_confirmed(context: Context, question: str, refusal: str) -> bool:
    """Ask whether something large or final may be done; with `--yes`, return True without asking.

    Raises `WrongUse` with the words of `refusal` if there is neither `--yes` nor a terminal.
    """
    if context.options.yes:
        return True
    if not can_ask():
        raise WrongUse(refusal, hint="Confirm with --yes.")
    return await ask_yes_no(question)


def keymap_problems(loaded: LoadedSettings) -> list[Problem]:
    """Return the problems of the section `[keys]`, which changes the keys of commands.

    These are unknown commands, unknown keys, keys that another command has in the same place, and
    keys that the prompt needs.
    """
    changed_keys = loaded.settings.keys
    keys_of_command = {
        name: changed_keys.get(name, command.keys).replace(" ", "").split(",")
        for name, command in BY_ID.items()
    }
    return [
        Problem(
            source=str(loaded.file),
            line=line_of(loaded.text, ("keys", name)),
            key=f"keys.{name}",
            reason=reason,
        )
        for name in changed_keys
        for reason in _reasons_against(name, keys_of_command)
    ]


def _reasons_against(name: str, keys_of_command: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield why the keys of a command cannot be used; a reason ends without a full stop."""
    if name not in BY_ID:
        yield f"is not a command{did_you_mean(name, tuple(BY_ID))}".removesuffix(".")
        return
    scope = BY_ID[name].scope
    for key in filter(None, keys_of_command[name]):  # a command without keys has "" there
        if not _is_key(key):
            yield f'"{key}" is not a key; write it like ctrl+k, alt+left or f9'
        if BY_ID[name].is_priority and _is_for_prompt(key):
            yield f'uses "{key}", which the prompt needs'
        for other, command in BY_ID.items():
            # keys of the app work everywhere
            is_in_same_place = command.scope is scope or Scope.APP in (command.scope, scope)
            if is_in_same_place and other != name and key in keys_of_command[other]:
                yield f'uses "{key}", which is already a key of {other}'


def _theme_problems(loaded: LoadedSettings) -> list[Problem]:
    """Return a problem if lmchat has no theme of the name that the section `[ui]` sets."""
    name = loaded.settings.ui.theme
    if not name:
        return []
    # imported here: apart from this check, only the screen needs Textual
    from textual.theme import BUILTIN_THEMES  # noqa: PLC0415

    from lmchat.tui.themes import THEMES, theme_named  # noqa: PLC0415

    names = (*(theme.name for theme in THEMES), *BUILTIN_THEMES)
    if theme_named(name, names):
        return []
    reason = "is not a theme; /theme lists all themes"
    line = line_of(loaded.text, ("ui", "theme"))
    return [Problem(source=str(loaded.file), line=line, key="ui.theme", reason=reason)]


def _is_key(word: str) -> bool:
    """Return whether Textual knows a key of this name, such as `ctrl+k`, `f9` or `+`."""
    # imported here: most configurations change no key, and do not need Textual
    from textual.keys import Keys, key_to_character  # noqa: PLC0415

    # the key + is not split: that would give two empty words
    *modifiers, key = [word] if word == "+" else word.split("+")
    is_named = any(key == named.value for named in Keys) or key_to_character(key) is not None
    return is_named and _MODIFIERS.issuperset(modifiers)


def _is_for_prompt(key: str) -> bool:
    """Return whether a key sends the prompt, moves in it, or types or deletes a character."""
    from textual.keys import key_to_character  # noqa: PLC0415 - as in `_is_key`

    return key in _PROMPT_KEYS or key_to_character(key) is not None
