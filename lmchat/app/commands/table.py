"""Table of commands: key, palette, help, slash command and config override come from one row.

What a command does is found by its id: on the screen in `tui/screen_commands.py`, in the plain chat
in `leaves/plain/front.py`. Both need sessions and servers, while keys and completions are needed
before the first paint.
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


class Command(Struct, frozen=True):
    """Row of the table of commands: its keys and its words."""

    scope: Scope
    # as `stop` or `message.copy`; commands on messages are also named without `message.`
    command_id: str
    keys: str  # Textual's key names, comma-separated; empty for a command without a key
    label: str  # a word or two for what it does, for the row of keys
    title: str  # the same in a phrase, for the palette and the help
    slash: str = ""  # the slash command with the form of its argument, such as `/title [TEXT]`
    # Textual's action of the widget that has its keys, if only that can run it: `hit(1)`
    action: str = ""
    # what people may call it: further names, with a slash, and words that only find it
    words: str = ""
    is_priority: bool = False  # whether the key takes precedence over the focused widget
    is_offered: bool = True  # whether the palette lists it

    @property
    def name(self) -> str:
        return self.slash.partition(" ")[0]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of its slash command in other programs."""
        return tuple(word for word in self.words.split() if word.startswith("/"))

    @property
    def takes_argument(self) -> bool:
        return " " in self.slash

    @property
    def needs_argument(self) -> bool:
        """Whether it needs an argument; the form of an optional one is in brackets: `[FILE]`."""
        argument = self.slash.partition(" ")[2]
        return bool(argument) and not argument.startswith("[")


_chat = partial(Command, Scope.CHAT)
_key = partial(_chat, is_priority=True)  # its key works in the prompt, too


def _slash(name: str, title: str, slash: str, **fields: Any) -> Command:
    """Return a slash command without a key; its label is its name."""
    return _chat(name, "", name, title, slash=slash, **fields)


def _message(name: str, keys: str, label: str, title: str, **fields: Any) -> Command:
    return Command(Scope.MESSAGE, f"message.{name}", keys, label, title, **fields)


_log = partial(Command, Scope.MESSAGE, is_offered=False)  # it concerns only the log


def _session(name: str, keys: str, label: str, title: str) -> Command:
    """Return a command on the chosen session of the list, which posts it with the session's id."""
    command_id = f"session.{name}"
    return Command(Scope.SESSIONS, command_id, keys, label, title, action=f"act({command_id!r})")


COMMANDS: tuple[Command, ...] = (
    _chat(
        "stop", "escape", "stop", "Stop the answer, or close the panel", words="cancel interrupt"
    ),
    _key(
        "model",
        "ctrl+o",
        "model",
        "Choose the model",
        slash="/model [N]",
        words="/models switch llm load unload download pull list show info",
    ),
    _key("new", "ctrl+n", "new", "Start a new session", slash="/new", words="/clear reset chat"),
    _key(
        "find",
        "ctrl+f",
        "find",
        "Find in this session",
        slash="/find [TEXT]",
    ),
    _key(
        "export",
        "ctrl+e",
        "export",
        "Export this session",
        slash="/export [FILE]",
        words="/save markdown json html backup share",
    ),
    _slash(
        "import",
        "Import sessions from a file",
        "/import [FILE]",
    ),
    _key(
        "sessions",
        "ctrl+b,f2",
        "sessions",
        "Show or hide the sessions",
        slash="/sessions",
        words="history chats trash deleted archive pin rename /resume ls",
    ),
    _key(
        "telemetry",
        "ctrl+t",
        "telemetry",
        "Show the telemetry: short, all, none",
        words="panel speed tokens",
    ),
    _key(
        "search", "ctrl+k", "search", "Search all sessions", slash="/search [TEXT]", words="history"
    ),
    _key(
        "retry",
        "ctrl+r",
        "retry",
        "Retry the last answer",
        slash="/retry",
        words="/answer /regen /regenerate again redo",
    ),
    _key(
        "now",
        "ctrl+s",
        "answer now",
        "End the thought; the model answers at once",
        slash="/now",
        words="skip",
    ),
    _key(
        "editor",
        "ctrl+g",
        "editor",
        "Edit the prompt in $VISUAL or $EDITOR",
    ),
    _key(
        "previous",
        "alt+up,f3",
        "previous",
        "Focus the previous message",
    ),
    _key("next", "alt+down", "next", "Focus the next message"),
    _key(
        "tool_no",
        "f6",
        "no",
        "Refuse the tool call, and say why",
        words="deny reject",
    ),
    _key(
        "tool_once",
        "f7",
        "once",
        "Run the tool once",
        words="yes allow approve",
    ),
    _key(
        "tool_session",
        "f8",
        "this session",
        "Run the tool, and allow it in this session",
        words="yes allow approve",
    ),
    _key(
        "tool_always",
        "f9",
        "always",
        "Run the tool, and always allow it",
        words="yes allow approve",
    ),
    _key("check", "f5", "check now", "Check the server now", words="refresh reconnect"),
    _slash(
        "servers",
        "Show the servers, to use another or type an address",
        "/servers",
        words="endpoint url connect api key",
    ),
    *(
        _key(
            f"model_{number}",
            f"alt+{number}",
            f"model {number}",
            f"Switch to recent model {number}",
            is_offered=False,
        )
        for number in range(1, 10)
    ),
    _slash(
        "system",
        "Change the system prompt",
        "/system TEXT",
        words="instructions prompt persona character",
    ),
    _slash(
        "preset",
        "Send a preset from the configuration",
        "/p [NAME [TEXT]]",
        words="/preset template prompt",
    ),
    _slash(
        "profile",
        "Use a profile from the configuration",
        "/profile [NAME]",
        words="persona",
    ),
    _slash(
        "effort",
        "Set the reasoning effort",
        "/effort [LEVEL]",
        words="reasoning thinking think",
    ),
    _slash("start", "Begin the next answer with a text", "/start [TEXT]", words="prefill"),
    _slash(
        "set",
        "List the sampling options, or set one",
        "/set [NAME VALUE]",
        words="temp temperature top_p top_k seed max_tokens settings parameters",
    ),
    _slash(
        "request",
        "Show the next request as JSON or curl",
        "/request [FORM]",
        words="payload debug sent raw",
    ),
    _slash(
        "file",
        "Add files or a page to the prompt",
        "/file PATH",
        words="/open /attach /add /read /image upload pdf web page url",
    ),
    _slash(
        "paste",
        "Add the image or text of the clipboard as a file",
        "/paste",
    ),
    _slash("title", "Change the title of this session", "/title [TEXT]", words="/rename name"),
    _slash("tag", "Add or remove a tag", "/tag [WORD]", words="label"),
    # the palette lists these two with the commands on the last answer
    _slash("copy", "Copy the last answer, or its code", "/copy [code]", is_offered=False),
    _slash("fork", "Fork this session into a new one", "/fork", is_offered=False, words="/branch"),
    _slash(
        "compact",
        "Summarise the older messages, on a new branch",
        "/compact",
        words="compress shorten summarize summary",
    ),
    _slash(
        "context",
        "Choose what the next request holds",
        "/context",
        words="/tokens usage window exclude",
    ),
    _slash("stats", "Show the statistics", "/stats", words="speed usage cost"),
    _chat(
        "reset_metrics",
        "",
        "reset metrics",
        "Reset metrics: set the counters of requests to 0",
    ),
    _slash(
        "log",
        "Show where the log file is",
        "/log",
    ),
    _slash(
        "tools",
        "List the tools, and switch them on or off",
        "/tools",
        words="mcp functions permissions",
    ),
    _slash("theme", "Change the theme", "/theme [NAME]", words="dark light mode colors colours"),
    _slash(
        "doctor",
        "Check everything and show what to do next",
        "/doctor",
        words="config settings preferences version status diagnose",
    ),
    Command(
        Scope.APP,
        "copy_or_stop",
        "ctrl+c",
        "copy",
        "Copy the selection or stop; twice: quit",
        is_offered=False,
        is_priority=True,
    ),
    Command(
        Scope.APP,
        "commands",
        "ctrl+p",
        "commands",
        "Command palette",
        is_offered=False,
    ),
    Command(
        Scope.APP,
        "help",
        "f1,question_mark",
        "help",
        "Keys and commands",
        slash="/help",
        words="/? /keys shortcuts hotkeys",
    ),
    Command(
        Scope.APP,
        "redraw",
        "ctrl+l",
        "redraw",
        "Draw the whole screen again",
    ),
    Command(
        Scope.APP,
        "copy_drawing_error",
        "",
        "copy drawing error",
        "Copy the details of a failed drawing",
    ),
    Command(
        Scope.APP,
        "suspend",
        "",
        "suspend",
        "Suspend lmchat (resume with fg)",
        slash="/suspend",
    ),
    Command(
        Scope.APP,
        "quit",
        "ctrl+q",
        "quit",
        "Quit; a running answer ends",
        slash="/quit",
        is_priority=True,
        words="/bye /exit /q close",
    ),
    _message(
        "copy",
        "y",
        "copy",
        "Copy as Markdown",
    ),
    _message(
        "copy_code",
        "c",
        "code",
        "Copy a code block; again: the next",
    ),
    _message(
        "save",
        "w",
        "save",
        "Save a code block as a file; again: the next",
    ),
    _message("edit", "e", "edit prompt", "Edit and resend", slash="/edit", words="change rewind"),
    _message(
        "rewrite",
        "E",
        "rewrite",
        "Rewrite the answer yourself",
        slash="/rewrite",
    ),
    _message(
        "regenerate",
        "r",
        "retry",
        "Retry the answer",
    ),
    _message(
        "another_model",
        "R",
        "other model",
        "Answer with another model",
    ),
    _message(
        "resume",  # as `[keys]` has it; in the code, a session is resumed and an answer continued
        "a",
        "continue",
        "Continue an unfinished answer",
        slash="/continue",
        words="resume",
    ),
    _message(
        "probabilities",
        "p",
        "probabilities",
        "Show how sure the model was of each word",
        slash="/probabilities",
    ),
    _message(
        "details",
        "i",
        "details",
        "Show details of the answer: times, tokens, sampling",
        slash="/details",
    ),
    _message("fork", "f", "fork", "Fork into a new session from here"),
    _message(
        "previous_version",
        "left_square_bracket",
        "versions",
        "Previous version",
    ),
    _message(
        "next_version",
        "right_square_bracket",
        "versions",
        "Next version",
    ),
    _message(
        "tree", "t", "tree", "Show the tree of this session", slash="/tree", words="/branches"
    ),
    _message(
        "source",
        "s",
        "source",
        "Show source or rendered text",
        slash="/source",
    ),
    _message(
        "links",
        "l",
        "links",
        "List the links of the message",
        slash="/links",
    ),
    _message(
        "fold",
        "enter",
        "fold",
        "Fold or unfold reasoning; show files",
    ),
    _message(
        "pager",
        "o",
        "pager",
        "Open the message in the pager, its files in a viewer",
        slash="/pager",
        words="/less",
    ),
    _log("message.next_hit", "n", "next hit", "Next hit", action="hit(1)"),
    _log("message.previous_hit", "N", "previous hit", "Previous hit", action="hit(-1)"),
    _log(
        "message.select_previous",
        "shift+up",
        "select up",
        "Extend the selection up",
        action="select(-1)",
    ),
    _log(
        "message.select_next",
        "shift+down",
        "select down",
        "Extend the selection down",
        action="select(1)",
    ),
    _message(
        "delete",
        "d",
        "delete",
        "Delete the message and everything after it",
        slash="/delete",
    ),
    # it needs no message
    Command(
        Scope.MESSAGE,
        "message.undo",
        "u",
        "undo",
        "Undo the last deletion",
        slash="/undo",
        words="rewind",
    ),
    _session("open", "enter", "open", "Open it"),
    _session("rename", "n", "rename", "Change its title"),
    _session("tag", "g", "tags", "Change its tags; #tag in the filter finds them"),
    _session("pin", "p", "pin", "Pin or unpin it"),
    _session("archive", "a", "archive", "Archive or restore it"),
    _session("delete", "d", "delete", "Move it to the trash"),
    # it needs no session
    Command(
        Scope.SESSIONS,
        "session.undo",
        "u",
        "undo",
        "Undo the last deletion",
    ),
    Command(
        Scope.PICKER,
        "picker.load",
        "ctrl+l",
        "load or unload",
        "Load or unload the model, or stop loading it",
        action="load_or_unload",
        is_offered=False,
        is_priority=True,
    ),
    Command(
        Scope.PICKER,
        "picker.load_with",
        "ctrl+g",
        "load with …",
        "Load the model with a context window of your choice",
        action="load_with",
        is_offered=False,
        is_priority=True,
    ),
    Command(
        Scope.PICKER,
        "picker.disk",
        "ctrl+d",
        "download or delete",
        "Download the typed model, or delete the chosen one",
        action="download_or_delete",
        is_offered=False,
        is_priority=True,
    ),
    Command(
        Scope.PICKER,
        "picker.refresh",
        "ctrl+r",
        "refresh",
        "Refresh the lists",
        action="refresh_models",
        is_offered=False,
        is_priority=True,
    ),
)

SLASH_COMMANDS = tuple(command for command in COMMANDS if command.slash)
BY_ID: Mapping[str, Command] = {command.command_id: command for command in COMMANDS}

# Commands with a hint in the row of keys, by what has the focus. The most important come first,
# as there is not room for all. Textual's `active_bindings` have neither order, nor the words for
# what a message or a turn needs.
PROMPT_HINTS = ("model", "new", "search", "sessions")
PROMPT_HINTS_WITHOUT_SERVER = ("check", "model", "new", "search")
MESSAGE_HINTS = (  # `copy` is `message.copy`
    "copy",
    "copy_code",
    "resume",
    "regenerate",
    "edit",
    "fork",
    "details",
    "fold",
    "next_version",
    "links",
    "delete",
    "tree",
    "rewrite",
    "source",
    "pager",
    "another_model",
)
TOOL_HINTS = ("tool_once", "tool_session", "tool_always", "tool_no")  # while a tool call asks
TOOL_CHOICES = ("tool_no", "tool_once", "tool_session", "tool_always")  # as the card has them
SESSION_HINTS = ("open", "rename", "pin", "archive", "delete", "tag")  # `session.open`, …

# Those that the first week needs, as in the README; the help starts with them.
FIRST_COMMANDS = (
    "stop",
    "model",
    "new",
    "search",
    "find",
    "export",
    "retry",
    "sessions",
    "previous",
    "commands",
    "quit",
)


def keys_of(command: Command, overrides: Mapping[str, str]) -> str:
    """Return the configured keys of a command, else its own; comma-separated."""
    return overrides.get(command.command_id) or command.keys
