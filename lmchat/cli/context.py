"""Context of one run: options, folders, settings, log, and the check of changed keys."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from lmchat.cli.commands import LEVELS, ParsedOptions
from lmchat.cli.output import Output
from lmchat.config.config_file import Problem, line_of
from lmchat.config.load import Flags, Loaded, load
from lmchat.config.settings import Settings
from lmchat.errors import ConfigError, LMChatError
from lmchat.files import NO_WAIT, OPEN_FLAGS, environment_for_others, path_of
from lmchat.paths import Paths, make_folder
from lmchat.text import safe_line, similar


class Context:
    """One run of the program: its options, folders, settings and log, each read when first asked for."""

    def __init__(self, options: ParsedOptions, environ: Mapping[str, str], output: Output) -> None:
        self.options = options
        self.environ = environ
        self.output = output

    @cached_property
    def paths(self) -> Paths:
        return Paths.find(self.environ)

    @property
    def config_file(self) -> Path:
        return path_of(self.options.config) if self.options.config else self.paths.config_file

    @cached_property
    def loaded(self) -> Loaded:
        flags = Flags(**{name: getattr(self.options, name) for name in Flags.__struct_fields__})
        is_required = self.options.config is not None
        return load(self.config_file, self.environ, flags, is_required=is_required)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self.loaded.problems, *keymap_problems(self.loaded))

    @property
    def settings(self) -> Settings:
        return self.loaded.require_valid().settings

    @cached_property
    def environ_of_programs(self) -> Mapping[str, str]:
        """Environment of the programs that lmchat runs for the user: without the keys that lmchat sends."""
        settings = self.loaded.settings
        keys = {endpoint.api_key_env for endpoint in settings.endpoints}
        for server in settings.mcp:
            keys.update((server.headers_env or {}).values())
        kept = environment_for_others(self.environ)
        return {name: value for name, value in kept.items() if name not in keys}

    @property
    def local_model(self) -> str:
        """Model file for the built-in engine; empty if `--model` names none."""
        named = self.options.model or ""
        is_file = named.lower().endswith(".gguf") and path_of(named).is_file()
        return named if self.options.local or is_file else ""

    @property
    def is_local(self) -> bool:
        return self.options.local or bool(self.local_model)

    @property
    def copied_file(self) -> Path | None:
        """File for copied texts where no clipboard works; a temporary chat has none."""
        return None if self.options.temporary else self.paths.state_dir / "copied.txt"

    @property
    def has_tools(self) -> bool:
        """Whether a tool server is configured, or `tools.py` exists."""
        is_configured = any(server.enabled for server in self.loaded.settings.mcp)
        return is_configured or self.paths.tools_file.is_file()

    def start_log(self) -> None:
        level = (
            self.options.log_level or self.environ.get("LMCHAT_LOG_LEVEL", "").lower() or "warning"
        )
        if level not in LEVELS:
            raise ConfigError(
                f"environment variable LMCHAT_LOG_LEVEL: must be one of {', '.join(LEVELS)}, not {level!r}.",
                hint="Correct or unset LMCHAT_LOG_LEVEL.",
            )
        start_log(self.paths.log_file, level)

    def note_error(self, error: BaseException) -> str:
        """Log an unexpected error and return its id."""
        error_id = os.urandom(4).hex()
        logging.getLogger("lmchat.cli").error("unexpected error, id %s", error_id, exc_info=error)
        return error_id

    def unexpected(self, error: Exception) -> LMChatError:
        error_id = self.note_error(error)
        return LMChatError(
            f"lmchat had an internal error (id {error_id}).",
            hint=f"The log file has details under this id: {self.paths.log_file}",
            kind="bug",
        )


def keymap_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """Return unknown commands, unknown keys, and keys that two commands of one place would share."""
    changed = loaded.settings.keys
    if not changed:
        return ()
    from lmchat.tui.commands import BY_ID, COMMANDS, Scope

    keys = {one.command_id: _split(changed.get(one.command_id, one.keys)) for one in COMMANDS}
    problems: list[Problem] = []

    def note(name: str, reason: str, suggestion: str = "") -> None:
        line, key = line_of(loaded.text, ("keys", name)), f"keys.{name}"
        source = str(loaded.file)
        problems.append(
            Problem(source=source, key=key, reason=reason, suggestion=suggestion, line=line)
        )

    for name in changed:
        if name not in BY_ID:
            meant = similar(name, tuple(BY_ID))
            note(name, "is not a command" + ("" if meant else "; F1 lists the commands"), meant)
            continue
        scope = BY_ID[name].scope
        for key in keys[name]:
            if not _is_key(key):
                note(name, f'"{key}" is not a key; write it like ctrl+k, alt+left or f9')
            for other in COMMANDS:
                is_near = other.scope is scope or Scope.APP in (other.scope, scope)
                if is_near and other.command_id != name and key in keys[other.command_id]:
                    note(name, f'uses "{key}", which is already a key of {other.command_id}')
    return tuple(problems)


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_key(word: str) -> bool:
    from textual.keys import KEY_ALIASES, Keys, key_to_character

    *modifiers, key = word.split("+") if word != "+" else [word]
    if not {*modifiers} <= {"ctrl", "alt", "shift", "super", "hyper", "meta"}:
        return False
    return (
        key in {one.value for one in Keys}
        or key in KEY_ALIASES
        or key_to_character(key) is not None
    )


_LARGEST_BYTES = 1_000_000
_LONGEST = 500  # characters of one message


class LogFile(logging.Handler):
    """Log handler that keeps one older file; a log that cannot be written costs the log alone."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, LMChatError):
            make_folder(self._path.parent)
            if self._path.exists() and self._path.stat().st_size > _LARGEST_BYTES:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            # without O_NONBLOCK a pipe of this name would be waited for
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN_FLAGS | NO_WAIT
            with os.fdopen(os.open(self._path, how, 0o600), "w", encoding="utf-8") as file:
                file.write(as_line(record) + "\n")


def start_log(path: Path, level: str) -> LogFile:
    """Send the records of lmchat at this level, and the warnings of its libraries, to a file."""
    handler = LogFile(path)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("lmchat").setLevel(level.upper())
    return handler


def as_line(record: logging.LogRecord) -> str:
    """Write a record as JSON; of an exception type and places only, since its text may quote a chat."""
    import json  # 7 ms that a start without a fault does not need

    message = record.getMessage()
    if record.name == "asyncio":
        message = message.partition("\n")[
            0
        ]  # the next lines show a task with the text of its exception
    entry: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": safe_line(message, limit=_LONGEST),
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        entry["exception"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        entry["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return json.dumps(entry)
