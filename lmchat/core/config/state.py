"""The file `state.toml`, in which lmchat remembers the last model, panels and theme.

Reading and writing block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType, field, to_builtins
from msgspec.structs import replace

from lmchat.base.files.disk import (
    PERMISSION,
    explain_system_error,
    free_name,
    locked,
    write_atomically,
)
from lmchat.core.config.toml import TomlError, read_toml

_MAX_RECENT = 9  # one for each of the keys Alt+1 … Alt+9


class UsedModel(Struct, frozen=True):
    endpoint: str  # its server, as `server_id_of` in `servers/model` names it
    model: str


class State(Struct, frozen=True, kw_only=True):
    """Choices that the next run remembers."""

    endpoint: str = ""  # server of the last used model, as in `UsedModel`; empty: none was used
    model: str = ""
    is_remote: bool = False
    """Whether it was a remote one when the user chose it: only then is it used without a question.

    Earlier versions did not ask.
    """
    recent: tuple[UsedModel, ...] = ()  # newest first
    theme: str = ""
    has_sessions: bool = True  # whether the list of sessions is shown
    has_telemetry: bool = True  # whether the telemetry panel is shown
    # whether it then shows also what says nothing now; not written until that was chosen
    has_all_figures: bool | UnsetType = UNSET
    # path of the last model of the built-in engine, which may be anywhere; not written before
    model_file: str | UnsetType = UNSET
    # fingerprints of tools for which the user has answered "always", by `SERVER/TOOL`
    allowed_tools: dict[str, str] = field(default_factory=dict)
    tool_hosts: tuple[str, ...] = ()  # that the user has allowed for tool servers

    def with_model(self, endpoint: str, model: str, *, is_remote: bool = False) -> State:
        newest = UsedModel(endpoint, model)
        others = [used for used in self.recent if used != newest]
        return replace(
            self,
            endpoint=endpoint,
            model=model,
            is_remote=is_remote,
            recent=(newest, *others)[:_MAX_RECENT],
        )

    def with_tool_hosts(self, hosts: Iterable[str]) -> State:
        return replace(self, tool_hosts=tuple(dict.fromkeys((*self.tool_hosts, *hosts))))

    def with_allowed(self, tool: str, fingerprint: str) -> State:
        """Let a tool, `SERVER/TOOL`, run without a question until its fingerprint changes."""
        return replace(self, allowed_tools={**self.allowed_tools, tool: fingerprint})


_logger = logging.getLogger(__name__)

Change = Callable[[State], State]  # returns the choices with one of them changed


def read_state(path: Path) -> tuple[State, str]:
    """Return the saved choices, else the defaults; and a warning, or ""."""
    try:
        state, _ = read_toml(path, State)
    except FileNotFoundError:
        return State(), ""
    except PermissionError as error:
        return State(), explain_system_error(error, path).message_with_next_step
    except (OSError, TomlError) as error:
        _logger.warning("%s could not be read: %s", path.name, type(error).__name__)
        reason = getattr(error, "strerror", "") or error
        warning = (
            f"{path.name} could not be read ({reason}): lmchat starts without the saved state. "
        )
        if isinstance(error, OSError):
            return State(), f"{warning}{PERMISSION}"
        return State(), f"{warning}Correct the file; the next change keeps it under another name."
    return state, ""


def change_state(path: Path, change: Change) -> State:
    """Keep what another window, or the user, has changed since; raises `StoreUnavailable`.

    A damaged file is kept under another name.
    """
    import tomli_w  # noqa: PLC0415 - no start must wait for it

    try:
        with locked(path):
            try:
                remembered, _ = read_toml(path, State)
            except FileNotFoundError:
                remembered = State()
            except TomlError:  # shown at the start of the screen
                path.rename(free_name(path, "damaged"))
                remembered = State()
            state = change(remembered)
            head = "# Written by lmchat; put your settings in config.toml.\n"
            write_atomically(path, head + tomli_w.dumps(to_builtins(state)))
    except OSError as error:
        raise explain_system_error(error, path) from error
    return state
