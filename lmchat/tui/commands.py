"""Table of commands: key, palette, help, slash command and config override come from one row."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from textual.binding import Binding


class Scope(StrEnum):
    """Place where a command's keys work; also the headings of the help screen."""

    APP = "Everywhere"
    CHAT = "Chat"
    MESSAGE = "A message that has the focus"
    SESSIONS = "The list of sessions"
    QUEUE = "The queue above the prompt"
    PICKER = "The model picker"


class Command(Struct, frozen=True, kw_only=True):
    """Row of the table."""

    command_id: str
    """Name for `[keys]` of the configuration."""
    keys: str
    """Textual's key names, comma-separated; empty for a command without a key."""
    label: str
    title: str
    scope: Scope
    action: str
    slash: str = ""
    """Slash command with the form of its argument."""
    typed: str = ""
    """Action of the slash command where it differs from the key's; it takes the argument."""
    is_priority: bool = False
    """Whether the key takes precedence over the focused widget."""
    is_offered: bool = True
    """Whether the palette lists it."""

    @property
    def name(self) -> str:
        """Return `/model` of `/model [N]`; empty where there is no slash command."""
        return self.slash.partition(" ")[0]

    @property
    def takes_argument(self) -> bool:
        return " " in self.slash

    @property
    def needs_argument(self) -> bool:
        return self.takes_argument and "[" not in self.slash


def _chat(command_id: str, keys: str, label: str, title: str, action: str, **rest: Any) -> Command:
    return Command(
        command_id=command_id,
        keys=keys,
        label=label,
        title=title,
        scope=Scope.CHAT,
        action=action,
        **rest,
    )


def _message(command_id: str, keys: str, label: str, title: str, slash: str = "") -> Command:
    action = f"message('{command_id.removeprefix('message.')}')"
    return Command(
        command_id=command_id,
        keys=keys,
        label=label,
        title=title,
        scope=Scope.MESSAGE,
        action=action,
        slash=slash,
    )


def _session(command_id: str, keys: str, label: str, title: str) -> Command:
    action = f"session('{command_id.removeprefix('session.')}')"
    return Command(
        command_id=command_id,
        keys=keys,
        label=label,
        title=title,
        scope=Scope.SESSIONS,
        action=action,
    )


COMMANDS: tuple[Command, ...] = (
    _chat("stop", "escape", "stop", "Stop the answer; else leave the panel", "stop_or_leave"),
    _chat("model", "ctrl+o", "model", "Choose the model", "app.pick_model", slash="/model [N]", is_priority=True),
    _chat("new", "ctrl+n", "new", "Begin a new session", "new_session", slash="/new", is_priority=True),
    _chat("find", "ctrl+f", "find", "Find in this session", "find", slash="/find [TEXT]", is_priority=True),
    _chat("export", "ctrl+e", "export", "Export this session as Markdown", "export_session", slash="/export [FILE]", is_priority=True),
    _chat("import", "", "import", "Import chats from a file", "import_file", slash="/import [FILE]"),
    _chat("sessions", "ctrl+b,f2", "sessions", "Show or hide the sessions", "toggle_sessions", is_priority=True),
    _chat("telemetry", "ctrl+t", "telemetry", "Show or hide the telemetry", "toggle_telemetry", is_priority=True),
    _chat("search", "ctrl+k", "search", "Search all sessions", "search_sessions", slash="/search [TEXT]", is_priority=True),
    _chat("retry", "ctrl+r", "regenerate", "Regenerate the last answer", "regenerate_last", slash="/retry", is_priority=True),
    _chat("editor", "ctrl+g", "editor", "Edit the prompt in $VISUAL or $EDITOR", "edit_prompt", is_priority=True),
    _chat("previous", "alt+up", "previous", "Focus the previous message", "focus_message(-1)", is_priority=True),
    _chat("next", "alt+down", "next", "Focus the next message", "focus_message(1)", is_priority=True),
    _chat("check", "f5", "look now", "Check the server now", "app.look_now", is_priority=True),
    *(
        _chat(f"model_{n}", f"alt+{n}", f"model {n}", f"Switch to recent model {n}", f"app.recent_model({n})", is_priority=True, is_offered=False)
        for n in range(1, 10)
    ),
    _chat("system", "", "system", "Change the system prompt from the next turn on", "slash('/system ')", slash="/system TEXT", typed="change_system_prompt"),
    _chat("profile", "", "profile", "Use a profile of the configuration", "slash('/profile ')", slash="/profile NAME", typed="use_profile"),
    _chat("effort", "", "effort", "Say how much the model is to think", "slash('/effort ')", slash="/effort LEVEL", typed="use_effort"),
    _chat("file", "", "file", "Put a text file into the prompt", "slash('/file ')", slash="/file PATH", typed="insert_file"),
    _chat("title", "", "title", "Change the title of this session", "slash('/title ')", slash="/title TEXT", typed="ask_title"),
    _chat("tag", "", "tag", "Put a tag on this session, or take it off", "slash('/tag ')", slash="/tag [WORD]", typed="ask_tags"),
    _chat("copy", "", "copy", "Copy the last answer, or its code", "copy", slash="/copy [code]"),
    _chat("fork", "", "fork", "Fork this session into a new one", "fork_session", slash="/fork"),
    _chat("trash", "", "trash", "See what was deleted, and bring it back", "show_trash", slash="/trash"),
    _chat("clear", "", "clear", "Begin anew; the old session stays in the list", "new_session", slash="/clear", is_offered=False),
    _chat("stats", "", "stats", "Show the figures of this run", "show_stats", slash="/stats"),
    _chat("log", "", "log", "Show where the log file is", "show_log", slash="/log"),
    _chat("theme", "", "theme", "Change the theme", "app.change_theme", slash="/theme [NAME]"),
    _chat("doctor", "", "doctor", "Check server, store and terminal", "run_doctor", slash="/doctor"),
    Command(command_id="copy_or_stop", keys="ctrl+c", label="copy", title="Copy the selection; else stop; twice when idle: quit", scope=Scope.APP, action="copy_or_stop", is_priority=True, is_offered=False),
    Command(command_id="commands", keys="ctrl+p", label="commands", title="Command palette", scope=Scope.APP, action="command_palette", is_offered=False),
    Command(command_id="help", keys="f1,question_mark", label="help", title="Every command with its key", scope=Scope.APP, action="show_help", slash="/help"),
    Command(command_id="suspend", keys="", label="suspend", title="Suspend lmchat (fg brings it back)", scope=Scope.APP, action="suspend_process", slash="/suspend"),
    Command(command_id="quit", keys="ctrl+q", label="quit", title="Quit; a running answer is saved", scope=Scope.APP, action="quit", slash="/quit", is_priority=True),
    _message("message.copy", "y", "copy", "Copy it as Markdown source"),
    _message("message.copy_code", "c", "copy code", "Copy a code block; again: the next"),
    _message("message.edit", "e", "edit", "Edit and resend", "/edit"),
    _message("message.regenerate", "r", "regenerate", "Regenerate the answer"),
    _message("message.resume", "a", "continue", "Continue an unfinished answer", "/continue"),
    _message("message.fork", "f", "fork", "Fork into a new session from here"),
    _message("message.previous_version", "left_square_bracket", "versions", "Previous version"),
    _message("message.next_version", "right_square_bracket", "versions", "Next version"),
    _message("message.tree", "t", "tree", "Show the tree of this session", "/tree"),
    _message("message.source", "s", "source", "Source or rendered", "/source"),
    _message("message.links", "l", "links", "List its links", "/links"),
    _message("message.fold", "enter", "fold", "Fold or unfold reasoning"),
    _message("message.pager", "o", "pager", "Open it in the pager", "/pager"),
    Command(command_id="message.next_hit", keys="n", label="next hit", title="Next hit of what was looked for", scope=Scope.MESSAGE, action="hit(1)", is_offered=False),
    Command(command_id="message.previous_hit", keys="N", label="previous hit", title="Previous hit", scope=Scope.MESSAGE, action="hit(-1)", is_offered=False),
    Command(command_id="message.select", keys="v", label="select", title="Select it; ↑ and ↓ select more", scope=Scope.MESSAGE, action="select(0)", is_offered=False),
    Command(command_id="message.select_previous", keys="shift+up", label="select up", title="Select the message above, too", scope=Scope.MESSAGE, action="select(-1)", is_offered=False),
    Command(command_id="message.select_next", keys="shift+down", label="select down", title="Select the message below, too", scope=Scope.MESSAGE, action="select(1)", is_offered=False),
    Command(command_id="message.select_first", keys="shift+home", label="select to the first", title="Select all above, too", scope=Scope.MESSAGE, action="select(-1000000)", is_offered=False),
    Command(command_id="message.select_last", keys="shift+end", label="select to the last", title="Select all below, too", scope=Scope.MESSAGE, action="select(1000000)", is_offered=False),
    _message("message.delete", "d", "delete", "Delete it with what follows", "/delete"),
    _message("message.undo", "u", "undo", "Undo the last deletion", "/undo"),
    _session("session.open", "enter", "open", "Open it"),
    _session("session.rename", "n", "rename", "Change its title"),
    _session("session.tag", "g", "tags", "Change its tags; #tag in the filter finds them"),
    _session("session.pin", "p", "pin", "Pin it to the top, or not"),
    _session("session.archive", "a", "archive", "Archive it, or bring it back"),
    _session("session.delete", "d", "delete", "Put it into the trash"),
    _session("session.undo", "u", "undo", "Undo the last deletion"),
    _session("session.trash", "t", "trash", "See what is in the trash"),
    Command(command_id="queue.edit", keys="up", label="edit", title="Edit it", scope=Scope.QUEUE, action="queue('edit')", is_offered=False),
    Command(command_id="queue.remove", keys="delete", label="remove", title="Remove it", scope=Scope.QUEUE, action="queue('remove')", is_offered=False),
    Command(command_id="picker.load", keys="ctrl+l", label="load or unload", title="Load or unload the model, or stop loading it", scope=Scope.PICKER, action="load_or_unload", is_priority=True, is_offered=False),
    Command(command_id="picker.refresh", keys="ctrl+r", label="refresh", title="Fetch the lists anew", scope=Scope.PICKER, action="refresh_models", is_priority=True, is_offered=False),
)  # fmt: skip

BY_ID: Mapping[str, Command] = {command.command_id: command for command in COMMANDS}
"""Commands by id."""


def keys_of(command: Command, overrides: Mapping[str, str]) -> str:
    """Return the keys of a command: the configured ones, else its own; comma-separated."""
    return overrides.get(command.command_id) or command.keys


def bindings(*scopes: Scope) -> list[Binding]:
    """Return the Textual bindings of some scopes; their ids are what the configuration's keymap overrides.

    A command without a key is bound to one that no keyboard has, so that the configuration can give it one.
    """
    return [
        Binding(
            command.keys or f"none-of-{command.command_id}",
            command.action,
            command.label,
            show=False,
            priority=command.is_priority,
            id=command.command_id,
        )
        for command in COMMANDS
        if command.scope in scopes
    ]
