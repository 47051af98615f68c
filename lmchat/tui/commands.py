"""Table of commands: key, palette, help, slash command and config override come from one row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any

from msgspec import Struct


class Scope(StrEnum):
    """Place where a command's keys work; also the headings of the help screen."""

    APP = "Everywhere"
    CHAT = "Chat"
    MESSAGE = "The focused message"
    SESSIONS = "The list of sessions"
    QUEUE = "The queue above the prompt"
    PICKER = "The model picker"


class Command(Struct, frozen=True, kw_only=True):
    """Row of the table."""

    command_id: str
    keys: str  # Textual's key names, comma-separated; empty for a command without a key
    label: str
    title: str
    scope: Scope
    action: str
    slash: str = ""  # with the form of its argument
    typed: str = ""  # action of the slash command if it differs; takes the argument
    is_priority: bool = False  # whether the key takes precedence over the focused widget
    is_offered: bool = True  # whether the palette lists it

    @property
    def name(self) -> str:
        return self.slash.partition(" ")[0]

    @property
    def takes_argument(self) -> bool:
        return " " in self.slash

    @property
    def needs_argument(self) -> bool:
        return self.takes_argument and self.slash.partition(" ")[2][0] != "["


def _command(
    scope: Scope, command_id: str, keys: str, label: str, title: str, action: str = "", **rest: Any
) -> Command:
    """Return a row; the action of `message.copy` is `message('copy')` by default."""
    kind, _, name = command_id.partition(".")
    action = action or f"{kind}({name!r})"
    return Command(
        command_id=command_id,
        keys=keys,
        label=label,
        title=title,
        scope=scope,
        action=action,
        **rest,
    )


_chat = partial(_command, Scope.CHAT)
_message = partial(_command, Scope.MESSAGE)
_session = partial(_command, Scope.SESSIONS)

COMMANDS: tuple[Command, ...] = (
    _chat("stop", "escape", "stop", "Stop the answer, or close the panel", "stop_or_leave"),
    _chat("model", "ctrl+o", "model", "Choose the model", "app.pick_model", slash="/model [N]", is_priority=True),
    _chat("new", "ctrl+n", "new", "Start a new session", "new_session", slash="/new", is_priority=True),
    _chat("find", "ctrl+f", "find", "Find in this session", "find", slash="/find [TEXT]", is_priority=True),
    _chat("export", "ctrl+e", "export", "Export this session as Markdown", "library('export')", slash="/export [FILE]", is_priority=True),
    _chat("import", "", "import", "Import sessions from a file", "library('import')", slash="/import [FILE]"),
    _chat("sessions", "ctrl+b,f2", "sessions", "Show or hide the sessions", "toggle_sessions", slash="/sessions", is_priority=True),
    _chat("telemetry", "ctrl+t", "telemetry", "Show or hide the telemetry panel", "toggle_telemetry", is_priority=True),
    _chat("search", "ctrl+k", "search", "Search all sessions", "search_sessions", slash="/search [TEXT]", is_priority=True),
    _chat("retry", "ctrl+r", "regenerate", "Regenerate the last answer", "regenerate_last", slash="/retry", is_priority=True),
    _chat("editor", "ctrl+g", "editor", "Edit the prompt in $VISUAL or $EDITOR", "edit_prompt", is_priority=True),
    _chat("previous", "alt+up", "previous", "Focus the previous message", "focus_message(-1)", is_priority=True),
    _chat("next", "alt+down", "next", "Focus the next message", "focus_message(1)", is_priority=True),
    _chat("check", "f5", "check now", "Check the server now", "app.look_now", is_priority=True),
    *(
        _chat(f"model_{n}", f"alt+{n}", f"model {n}", f"Switch to recent model {n}", f"app.pick_model('{n}')", is_priority=True, is_offered=False)
        for n in range(1, 10)
    ),
    _chat("system", "", "system", "Change the system prompt from the next answer on", "slash('/system ')", slash="/system TEXT", typed="change_system_prompt"),
    _chat("preset", "", "preset", "Send a preset from the configuration", "slash('/p ')", slash="/p NAME [TEXT]", typed="use_preset"),
    _chat("profile", "", "profile", "Use a profile from the configuration", "slash('/profile ')", slash="/profile NAME", typed="use_profile"),
    _chat("effort", "", "effort", "Set the reasoning effort (thinking)", "slash('/effort ')", slash="/effort LEVEL", typed="use_effort"),
    _chat("file", "", "file", "Add a file to the prompt", "slash('/file ')", slash="/file PATH", typed="insert_file"),
    _chat("title", "", "title", "Change the title of this session", "slash('/title ')", slash="/title TEXT", typed="library('rename')"),
    _chat("tag", "", "tag", "Add or remove a tag", "slash('/tag ')", slash="/tag [WORD]", typed="library('tag')"),
    _chat("copy", "", "copy", "Copy the last answer, or its code", "copy", slash="/copy [code]"),
    _chat("fork", "", "fork", "Fork this session into a new one", "fork_session", slash="/fork"),
    _chat("compact", "", "compact", "Summarise the older messages, on a new branch", "compact", slash="/compact"),
    _chat("trash", "", "trash", "Show and restore deleted sessions", "library('trash')", slash="/trash"),
    _chat("clear", "", "clear", "Start a new session; the old one stays in the list", "new_session", slash="/clear", is_offered=False),
    _chat("stats", "", "stats", "Show the statistics", "show_stats", slash="/stats"),
    _chat("log", "", "log", "Show where the log file is", "show_log", slash="/log"),
    _chat("tools", "", "tools", "List the tools, and switch them on or off", "show_tools", slash="/tools"),
    _chat("theme", "", "theme", "Change the theme", "app.use_theme", slash="/theme [NAME]"),
    _chat("doctor", "", "doctor", "Check everything and show what to do next", "run_doctor", slash="/doctor"),
    _command(Scope.APP, "copy_or_stop", "ctrl+c", "copy", "Copy the selection or stop; twice: quit", "copy_or_stop", is_priority=True, is_offered=False),
    _command(Scope.APP, "commands", "ctrl+p", "commands", "Command palette", "command_palette", is_offered=False),
    _command(Scope.APP, "help", "f1,question_mark", "help", "All commands and their keys", "show_help", slash="/help"),
    _command(Scope.APP, "suspend", "", "suspend", "Suspend lmchat (resume with fg)", "suspend_process", slash="/suspend"),
    _command(Scope.APP, "quit", "ctrl+q", "quit", "Quit; a running answer is stopped", "quit", slash="/quit", is_priority=True),
    _message("message.copy", "y", "copy", "Copy it as Markdown source"),
    _message("message.copy_code", "c", "copy code", "Copy a code block; again: the next"),
    _message("message.edit", "e", "edit", "Edit and resend", slash="/edit"),
    _message("message.regenerate", "r", "regenerate", "Regenerate the answer"),
    _message("message.another_model", "R", "other model", "Answer with another model"),
    _message("message.resume", "a", "continue", "Continue an unfinished answer", slash="/continue"),
    _message("message.fork", "f", "fork", "Fork into a new session from here"),
    _message("message.previous_version", "left_square_bracket", "versions", "Previous version"),
    _message("message.next_version", "right_square_bracket", "versions", "Next version"),
    _message("message.compare", "equals_sign", "compare", "Compare two versions"),
    _message("message.tree", "t", "tree", "Show the tree of this session", slash="/tree"),
    _message("message.source", "s", "source", "Show source or rendered text", slash="/source"),
    _message("message.links", "l", "links", "List its links", slash="/links"),
    _message("message.fold", "enter", "fold", "Fold or unfold reasoning; show files"),
    _message("message.pager", "o", "pager", "Open it in the pager, its files in a viewer", slash="/pager"),
    _message("message.next_hit", "n", "next hit", "Next hit", "hit(1)", is_offered=False),
    _message("message.previous_hit", "N", "previous hit", "Previous hit", "hit(-1)", is_offered=False),
    _message("message.select", "v", "select", "Select it; ↑ and ↓ select more", "select(0)", is_offered=False),
    _message("message.select_previous", "shift+up", "select up", "Extend the selection up", "select(-1)", is_offered=False),
    _message("message.select_next", "shift+down", "select down", "Extend the selection down", "select(1)", is_offered=False),
    _message("message.select_first", "shift+home", "select to the first", "Extend the selection to the first message", "select(-1000000)", is_offered=False),
    _message("message.select_last", "shift+end", "select to the last", "Extend the selection to the last message", "select(1000000)", is_offered=False),
    _message("message.delete", "d", "delete", "Delete it and everything after it", slash="/delete"),
    _message("message.undo", "u", "undo", "Undo the last deletion", slash="/undo"),
    _session("session.open", "enter", "open", "Open it"),
    _session("session.rename", "n", "rename", "Change its title"),
    _session("session.tag", "g", "tags", "Change its tags; #tag in the filter finds them"),
    _session("session.pin", "p", "pin", "Pin or unpin it"),
    _session("session.archive", "a", "archive", "Archive or restore it"),
    _session("session.delete", "d", "delete", "Move it to the trash"),
    _session("session.undo", "u", "undo", "Undo the last deletion"),
    _session("session.trash", "t", "trash", "Show the trash"),
    _command(Scope.QUEUE, "queue.edit", "up", "edit", "Edit it", "queue('edit')", is_offered=False),
    _command(Scope.QUEUE, "queue.remove", "delete", "remove", "Remove it", "queue('remove')", is_offered=False),
    _command(Scope.PICKER, "picker.load", "ctrl+l", "load or unload", "Load or unload the model, or stop loading it", "load_or_unload", is_priority=True, is_offered=False),
    _command(Scope.PICKER, "picker.refresh", "ctrl+r", "refresh", "Refresh the lists", "refresh_models", is_priority=True, is_offered=False),
)  # fmt: skip

BY_ID: Mapping[str, Command] = {command.command_id: command for command in COMMANDS}


def keys_of(command: Command, overrides: Mapping[str, str]) -> str:
    """Return the keys of a command: the configured ones, else its own; comma-separated."""
    return overrides.get(command.command_id) or command.keys


def bindings(*scopes: Scope) -> list[Any]:
    """Return the bindings of some scopes; a command without a key has one that no keyboard has.

    The configuration can give it another.
    """
    from textual.binding import (
        Binding,
    )  # the plain chat, which uses the table, starts without Textual

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


ALIASES: Mapping[str, str] = {
    "/answer": "/retry",
    "/branch": "/fork",
    "/branches": "/tree",
    "/bye": "/quit",
    "/exit": "/quit",
    "/less": "/pager",
    "/open": "/file",
    "/q": "/quit",
    "/redo": "/retry",
    "/regen": "/retry",
    "/regenerate": "/retry",
    "/resume": "/continue",
    "/rename": "/title",
}
"""Names from other programs."""


class SlashCommand(Struct, frozen=True, kw_only=True):
    """Typed slash command."""

    command: Command
    argument: str


def is_command(text: str) -> bool:
    """Return whether a text is one line that begins with a command, or with a word that may be meant as one.

    All else is a message, as `/tmp/x is full, why?`, and `/var is full, why?` where there is such a path.
    """
    if not text.startswith("/") or "\n" in text:
        return False
    word = text.partition(" ")[0]
    return parse_slash(text) is not None or (word[1:].isalpha() and not os.path.lexists(word))


def parse_slash(line: str) -> SlashCommand | None:
    """Parse `/name argument`; None if no command is meant.

    The beginning of one name will do; before other words only if the command takes an argument.
    """
    typed, _, argument = line.strip().partition(" ")
    name = ALIASES.get(typed, typed)
    rows = [command for command in COMMANDS if command.slash]
    exact = [command for command in rows if command.name == name]
    begun = [command for command in rows if command.name.startswith(name)]
    if not exact and (len(begun) != 1 or (argument and not begun[0].takes_argument)):
        return None
    return SlashCommand(command=(exact or begun)[0], argument=argument.strip())
