"""The commands about saved sessions: list, search, export, import."""

from __future__ import annotations

from lmchat.cli.command import ID, JSON, Command, argument, switch


def _count(word: str) -> int:
    """Read a number of hits; what is none, argparse tells."""
    count = int(word)
    if count < 1:
        raise ValueError
    return count


_count.__name__ = "number of hits"  # argparse says "invalid number of hits value"


_SESSIONS = Command(
    "sessions",
    "list the saved sessions, newest first",
    ("lmchat sessions", "lmchat sessions show last", "lmchat sessions rename 3f2a 'Plan for the garden'"),
    "sessions:list_sessions",
    (JSON, switch("--trash", help="list what was deleted instead")),
    (
        Command("show", "print a session", ("lmchat sessions show last",), "sessions:show", (ID, JSON)),
        Command(
            "rename",
            "change the title of a session",
            ("lmchat sessions rename last 'Plan for the garden'",),
            "sessions:rename",
            (ID, argument("title", metavar="TITLE", help="the new title"), JSON),
        ),
        Command(
            "delete",
            "put a session into the trash, where it stays for 30 days",
            ("lmchat sessions delete 3f2a",),
            "sessions:delete",
            (ID, JSON),
        ),
        Command(
            "restore",
            "take a session out of the trash",
            ("lmchat sessions restore 3f2a",),
            "sessions:restore",
            (ID, JSON),
        ),
        Command(
            "purge",
            "remove a session for good, or all that is in the trash",
            ("lmchat sessions purge 3f2a", "lmchat sessions purge --yes"),
            "sessions:purge",
            (
                argument("id", metavar="ID", nargs="?", default="", help="session; default: the whole trash"),
                switch("--yes", help="do not ask"),
                JSON,
            ),
        ),
    ),
)
_SEARCH = Command(
    "search",
    "search the text of all sessions",
    ('lmchat search "shade vegetables"', "lmchat search has:code after:2026-11-01 --limit 100"),
    "search:search",
    (
        argument("query", metavar="QUERY", nargs="+", help="words to look for"),
        argument(
            "--limit", metavar="N", type=_count, default=20, help="print so many hits at most; default: 20"
        ),
        JSON,
    ),
)
_EXPORT = Command(
    "export",
    "print a session as Markdown",
    (
        "lmchat export last > garden.md",
        "lmchat export 3f2a -o garden.md",
        "lmchat export 3f2a 77c0 -o chats",
        "lmchat export --all backup",
    ),
    "export:export",
    (
        argument("ids", metavar="ID", nargs="*", default=(), help="sessions; default: `last`"),
        argument("-o", "--output", metavar="FILE", help="write into a file, or several into a folder"),
        argument(
            "--format",
            choices=("md", "json", "html", "txt"),
            help="default: by the name of the file, else md",
        ),
        argument("--all", metavar="DIR", dest="all_into", help="write every session into a folder"),
        switch("--reasoning", help="with what the models thought"),
        switch("--branches", help="with all versions of prompts and answers; JSON always has them"),
        switch("--force", help="overwrite files that are there"),
        switch("--json", help="print one JSON document: the session, or the names of the files"),
    ),
)
_IMPORT = Command(
    "import",
    "bring chats over from files, each once: exports as Markdown or JSON, lists of {role, content}",
    (
        "lmchat import garden.md",
        "lmchat import --dry-run backup",
        "curl -s https://example.org/chat.json | lmchat import -",
    ),
    "import_files:import_files",
    (
        argument(
            "files", metavar="FILE", nargs="+", default=(), help="file, folder of files, or - for stdin"
        ),
        switch("--dry-run", help="say what would be imported, and write nothing"),
        switch("--copy", help="import once more what is there already, as another session"),
        switch("--json", help="print one JSON document"),
    ),
    notes="The last line on stdout names the ids of the sessions. Exit codes: 0 all is there,\n"
    "1 a file was refused, of which nothing was written.",
)

SESSION_COMMANDS = (_SESSIONS, _SEARCH, _EXPORT, _IMPORT)
"""In the order of `--help`."""
