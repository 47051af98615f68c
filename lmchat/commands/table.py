"""Table of commands: key, palette, help, slash command and config override come from one row.

`Command.runs` names what runs a command on the screen, in Textual's notation for actions:

- With a dot, such as `server_search.check_now`, it is a function of a controller, the find bar, the
  app or the dispatcher. Key, palette and slash command lead to `Dispatcher.run`, which calls it.
- If such a row `takes_message`, `MessageActions.run_on` calls that function with a message as its
  last parameter, unless `conditions.py` has a reason against it.
- Without a dot, such as `hit(1)`, it is an action of the log, the list or the picker for a key
  there. It needs what only that widget has, such as the chosen row. Textual itself calls
  `action_hit(1)`.

The plain chat does not use `runs`, as controllers need widgets: `Command.plain` names a method of
`PlainCommands` (`cli/plain/commands.py`). It gets the argument, "" if there is none.

The names are strings, as this package may not import front ends; `tests/tui/test_dispatcher.py` and
`tests/cli/test_plain_commands.py` look all of them up.
"""

from __future__ import annotations

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
    PICKER = "The model picker"


class Command(Struct, frozen=True, kw_only=True):
    """Row of the table of commands: its keys, its words, and what runs it."""

    # as `stop` or `message.copy`; commands on messages are also named without `message.`
    command_id: str
    keys: str  # Textual's key names, comma-separated; empty for a command without a key
    label: str  # a word or two for what it does, for the row of keys
    title: str  # the same in a phrase, for the palette and the help
    scope: Scope
    runs: str  # such as `server_search.check_now` or `hit(1)`; the head of this module explains it
    takes_message: bool = False  # on the focused message, or else the last answer or prompt
    slash: str = ""  # the slash command with the form of its argument, such as `/title [TEXT]`
    plain: str = ""  # method that runs it in the plain chat; empty: it needs the screen
    takes_plain_argument: bool = False  # in the plain chat, where `slash` has none
    is_priority: bool = False  # whether the key takes precedence over the focused widget
    is_offered: bool = True  # whether the palette lists it

    @property
    def name(self) -> str:
        """The slash command without its argument, such as `/title`."""
        return self.slash.partition(" ")[0]

    @property
    def is_widget_action(self) -> bool:
        """Whether the widget that has its keys runs it, and nothing else can."""
        return "." not in self.runs

    @property
    def takes_argument(self) -> bool:
        return " " in self.slash

    @property
    def needs_argument(self) -> bool:
        """Whether it needs an argument; the form of an optional one is in brackets: `[FILE]`."""
        argument = self.slash.partition(" ")[2]
        return bool(argument) and not argument.startswith("[")


def _command(
    scope: Scope,
    command_id: str,
    keys: str,
    label: str,
    title: str,
    runs: str,
    **fields: Any,
) -> Command:
    """Return a row; the fields that most rows have are positional."""
    return Command(
        command_id=command_id,
        keys=keys,
        label=label,
        title=title,
        scope=scope,
        runs=runs,
        **fields,
    )


_chat = partial(_command, Scope.CHAT)
_key = partial(_chat, is_priority=True)  # its key works in the prompt, too


def _slash(name: str, title: str, slash: str, runs: str, **fields: Any) -> Command:
    """Return a slash command of the chat screen without a key; its label is its name."""
    return _chat(
        command_id=name,
        keys="",
        label=name,
        title=title,
        runs=runs,
        slash=slash,
        **fields,
    )


def _message(name: str, keys: str, label: str, title: str, runs: str, **fields: Any) -> Command:
    """Return a command on the focused message."""
    command_id = f"message.{name}"
    return _command(
        Scope.MESSAGE, command_id, keys, label, title, runs, takes_message=True, **fields
    )


_log = partial(_command, Scope.MESSAGE, is_offered=False)  # it concerns only the log


def _session(name: str, keys: str, label: str, title: str) -> Command:
    """Return a command on the chosen session of the list.

    The list posts it with the id of that session (`ActWanted`), and `SavedSessions.act` runs it.
    """
    return _command(Scope.SESSIONS, f"session.{name}", keys, label, title, f"session({name!r})")


COMMANDS: tuple[Command, ...] = (
    _chat(
        "stop", "escape", "stop", "Stop the answer, or close the panel", "dispatcher.stop_or_leave"
    ),
    _key(
        "model",
        "ctrl+o",
        "model",
        "Choose the model",
        "model_switch.pick",
        slash="/model [N]",
        plain="choose_model",
    ),
    _key(
        "new",
        "ctrl+n",
        "new",
        "Start a new session",
        "session_view.start_new",
        slash="/new",
        plain="new",
    ),
    _key(
        "find",
        "ctrl+f",
        "find",
        "Find in this session",
        "find_bar.open",
        slash="/find [TEXT]",
    ),
    _key(
        "export",
        "ctrl+e",
        "export",
        "Export this session as Markdown",
        "export_import.export",
        slash="/export [FILE]",
    ),
    _slash(
        "import",
        "Import sessions from a file",
        "/import [FILE]",
        "export_import.import_",
    ),
    _key(
        "sessions",
        "ctrl+b,f2",
        "sessions",
        "Show or hide the sessions",
        "appearance.toggle_sessions",
        slash="/sessions",
        plain="open_session",
        takes_plain_argument=True,
    ),
    _key(
        "telemetry",
        "ctrl+t",
        "telemetry",
        "Show or hide the telemetry panel",
        "appearance.toggle_telemetry",
    ),
    _key(
        "search",
        "ctrl+k",
        "search",
        "Search all sessions",
        "saved_sessions.search",
        slash="/search [TEXT]",
    ),
    _key(
        "retry",
        "ctrl+r",
        "regenerate",
        "Regenerate the last answer",
        "message_actions.act_on_last('regenerate')",
        slash="/retry",
        plain="retry",
    ),
    _key(
        "now",
        "ctrl+s",
        "answer now",
        "End the thought; the model answers at once",
        "turn_view.answer_now",
        slash="/now",
    ),
    _key(
        "editor",
        "ctrl+g",
        "editor",
        "Edit the prompt in $VISUAL or $EDITOR",
        "prompt_text.edit_in_program",
    ),
    _key(
        "previous",
        "alt+up",
        "previous",
        "Focus the previous message",
        "dispatcher.focus_message(-1)",
    ),
    _key("next", "alt+down", "next", "Focus the next message", "dispatcher.focus_message(1)"),
    _key("check", "f5", "check now", "Check the server now", "server_search.check_now"),
    *(
        _key(
            f"model_{number}",
            f"alt+{number}",
            f"model {number}",
            f"Switch to recent model {number}",
            f"model_switch.pick('{number}')",
            is_offered=False,
        )
        for number in range(1, 10)
    ),
    _slash(
        "system",
        "Change the system prompt for your next messages",
        "/system TEXT",
        "answer_settings.change_system_prompt",
        plain="change_system_prompt",
    ),
    _slash(
        "preset",
        "Send a preset from the configuration",
        "/p NAME [TEXT]",
        "turn_view.use_preset",
        plain="send_preset",
    ),
    _slash(
        "profile",
        "Use a profile from the configuration",
        "/profile NAME",
        "answer_settings.use_profile",
        plain="use_profile",
    ),
    _slash(
        "effort",
        "Set the reasoning effort: none to max, or tokens",
        "/effort LEVEL",
        "answer_settings.use_effort",
        plain="use_effort",
    ),
    _slash(
        "start",
        "Begin the next answer with a text",
        "/start [TEXT]",
        "answer_settings.use_first_words",
    ),
    _slash(
        "set",
        "List the sampling options, or set one for this session",
        "/set [NAME VALUE]",
        "answer_settings.set_option",
        plain="set_option",
    ),
    _slash(
        "request",
        "Show the next request as text, JSON or curl",
        "/request [FORM]",
        "reports.open_request",
    ),
    _slash(
        "file",
        "Add files or a page to the prompt",
        "/file PATH",
        "prompt_files.add",
        plain="attach_file",
    ),
    _slash(
        "paste",
        "Add the image or text of the clipboard as a file",
        "/paste",
        "prompt_files.attach_copied",
        plain="paste",
    ),
    _slash(
        "title",
        "Change the title of this session",
        "/title [TEXT]",
        "saved_sessions.act_on_shown('rename', '/title')",
    ),
    _slash(
        "tag", "Add or remove a tag", "/tag [WORD]", "saved_sessions.act_on_shown('tag', '/tag')"
    ),
    _slash(
        "copy", "Copy the last answer, or its code", "/copy [code]", "message_actions.copy_part"
    ),
    _slash(
        "fork", "Fork this session into a new one", "/fork", "message_actions.act_on_last('fork')"
    ),
    _slash(
        "compact",
        "Summarise the older messages, on a new branch",
        "/compact",
        "turn_view.compact",
        plain="compact",
    ),
    _slash(
        "context",
        "Show what the next request holds, and take messages out of it",
        "/context",
        "reports.open_context",
    ),
    _slash(
        "clear",
        "Start a new session; the old one stays in the list",
        "/clear",
        "session_view.start_new",
        plain="new",
        is_offered=False,
    ),
    _slash(
        "stats",
        "Show the statistics",
        "/stats",
        "reports.open_statistics",
    ),
    _chat(
        "reset_metrics",
        "",
        "reset metrics",
        "Reset metrics: set the counters of requests to 0",
        "reports.reset_metrics",
    ),
    _slash(
        "log",
        "Show where the log file is",
        "/log",
        "reports.open_log_file",
    ),
    _slash(
        "tools",
        "List the tools, and switch them on or off",
        "/tools",
        "reports.open_tools",
    ),
    _slash("theme", "Change the theme", "/theme [NAME]", "appearance.use_theme"),
    _slash(
        "doctor",
        "Check everything and show what to do next",
        "/doctor",
        "reports.open_doctor",
    ),
    _command(
        Scope.APP,
        "copy_or_stop",
        "ctrl+c",
        "copy",
        "Copy the selection or stop; twice: quit",
        "dispatcher.copy_or_stop",
        is_offered=False,
        is_priority=True,
    ),
    _command(
        Scope.APP,
        "commands",
        "ctrl+p",
        "commands",
        "Command palette",
        "palette.open",
        is_offered=False,
    ),
    _command(
        Scope.APP,
        "help",
        "f1,question_mark",
        "help",
        "All commands and their keys",
        "palette.open_help",
        slash="/help",
        plain="list_commands",
    ),
    _command(
        Scope.APP,
        "redraw",
        "",
        "redraw",
        "Retry drawing what failed",
        "app.redraw",
    ),
    _command(
        Scope.APP,
        "copy_drawing_error",
        "",
        "copy drawing error",
        "Copy the details of a failed drawing",
        "app.copy_drawing_error",
    ),
    _command(
        Scope.APP,
        "suspend",
        "",
        "suspend",
        "Suspend lmchat (resume with fg)",
        "dispatcher.suspend",
        slash="/suspend",
    ),
    _command(
        Scope.APP,
        "quit",
        "ctrl+q",
        "quit",
        "Quit; a running answer is stopped",
        "dispatcher.quit",
        slash="/quit",
        plain="quit",
        is_priority=True,
    ),
    _message(
        "copy",
        "y",
        "copy",
        "Copy it as Markdown source",
        "message_actions.copy",
    ),
    _message(
        "copy_code",
        "c",
        "copy code",
        "Copy a code block; again: the next",
        "message_actions.copy_code",
    ),
    _message(
        "save",
        "w",
        "save",
        "Save a code block as a file; again: the next",
        "message_actions.save",
    ),
    _message(
        "edit",
        "e",
        "edit",
        "Edit and resend",
        "message_actions.edit",
        slash="/edit",
        plain="edit",
        takes_plain_argument=True,
    ),
    _message(
        "rewrite",
        "E",
        "rewrite",
        "Rewrite the answer yourself",
        "prompt_text.begin_edit",
        slash="/rewrite",
    ),
    _message(
        "regenerate",
        "r",
        "regenerate",
        "Regenerate the answer",
        "turn_view.regenerate",
    ),
    _message(
        "another_model",
        "R",
        "other model",
        "Answer with another model",
        "model_switch.regenerate_with_another",
    ),
    _message(
        "resume",  # as `[keys]` has it; in the code, a session is resumed and an answer continued
        "a",
        "continue",
        "Continue an unfinished answer",
        "turn_view.continue_answer",
        slash="/continue",
        plain="continue_answer",
    ),
    _message(
        "probabilities",
        "p",
        "probabilities",
        "Show how sure the model was of each word",
        "branches.open_probabilities",
        slash="/probabilities",
    ),
    _message(
        "details",
        "i",
        "details",
        "Show its details: times, tokens, sampling",
        "message_actions.open_details",
        slash="/details",
    ),
    _message("fork", "f", "fork", "Fork into a new session from here", "branches.fork"),
    _message(
        "previous_version",
        "left_square_bracket",
        "versions",
        "Previous version",
        "branches.switch_version(-1)",
    ),
    _message(
        "next_version",
        "right_square_bracket",
        "versions",
        "Next version",
        "branches.switch_version(1)",
    ),
    _message(
        "tree", "t", "tree", "Show the tree of this session", "branches.open_tree", slash="/tree"
    ),
    _message(
        "source",
        "s",
        "source",
        "Show source or rendered text",
        "message_actions.switch_source",
        slash="/source",
    ),
    _message(
        "links",
        "l",
        "links",
        "List its links",
        "message_actions.list_links",
        slash="/links",
    ),
    _message(
        "fold",
        "enter",
        "fold",
        "Fold or unfold reasoning; show files",
        "message_actions.fold",
    ),
    _message(
        "pager",
        "o",
        "pager",
        "Open it in the pager, its files in a viewer",
        "message_actions.open_in_pager",
        slash="/pager",
    ),
    _log("message.next_hit", "n", "next hit", "Next hit", "hit(1)"),
    _log("message.previous_hit", "N", "previous hit", "Previous hit", "hit(-1)"),
    _log(
        "message.select_previous", "shift+up", "select up", "Extend the selection up", "select(-1)"
    ),
    _log(
        "message.select_next", "shift+down", "select down", "Extend the selection down", "select(1)"
    ),
    _message(
        "delete",
        "d",
        "delete",
        "Delete it and everything after it",
        "branches.delete",
        slash="/delete",
    ),
    # it needs no message
    _command(
        Scope.MESSAGE,
        "message.undo",
        "u",
        "undo",
        "Undo the last deletion",
        "branches.undo",
        slash="/undo",
    ),
    _session("open", "enter", "open", "Open it"),
    _session("rename", "n", "rename", "Change its title"),
    _session("tag", "g", "tags", "Change its tags; #tag in the filter finds them"),
    _session("pin", "p", "pin", "Pin or unpin it"),
    _session("archive", "a", "archive", "Archive or restore it"),
    _session("delete", "d", "delete", "Move it to the trash"),
    # it needs no session
    _command(
        Scope.SESSIONS,
        "session.undo",
        "u",
        "undo",
        "Undo the last deletion",
        "saved_sessions.undo",
    ),
    _command(
        Scope.PICKER,
        "picker.load",
        "ctrl+l",
        "load or unload",
        "Load or unload the model, or stop loading it",
        "load_or_unload",
        is_offered=False,
        is_priority=True,
    ),
    _command(
        Scope.PICKER,
        "picker.load_with",
        "ctrl+g",
        "load with …",
        "Load the model with a context window of your choice",
        "load_with",
        is_offered=False,
        is_priority=True,
    ),
    _command(
        Scope.PICKER,
        "picker.refresh",
        "ctrl+r",
        "refresh",
        "Refresh the lists",
        "refresh_models",
        is_offered=False,
        is_priority=True,
    ),
)

SLASH_COMMANDS = tuple(command for command in COMMANDS if command.slash)
BY_ID: Mapping[str, Command] = {command.command_id: command for command in COMMANDS}

# Commands with a hint in the row of keys, by what has the focus. The most important come first, as
# there is not room for all; in `COMMANDS`, commands are in the order of the help. Textual's
# `active_bindings` have neither order, nor the words for what a message or a turn needs.
PROMPT_HINTS = ("model", "new", "find", "export", "sessions", "telemetry")
PROMPT_HINTS_WITHOUT_SERVER = ("check", "retry", "model", "new", "export")
MESSAGE_HINTS = (  # `copy` is `message.copy`
    *("copy", "resume", "edit", "regenerate", "fold", "fork", "copy_code", "next_version"),
    *("links", "delete", "tree", "rewrite", "source", "pager", "another_model"),
    "undo",
)
SESSION_HINTS = ("open", "rename", "pin", "archive", "delete", "undo", "tag")  # `session.open`, …


def keys_of(command: Command, overrides: Mapping[str, str]) -> str:
    """Return the keys of a command: the configured ones, else its own; comma-separated.

    `overrides` are the configured keys, by command id.
    """
    return overrides.get(command.command_id) or command.keys
