"""Options and arguments of the command line, with their defaults."""

from __future__ import annotations

from collections.abc import Sequence

LEVELS = ("debug", "info", "warning", "error")  # of the log


class ParsedOptions:
    """Options and arguments; the attributes of the class are the defaults.

    argparse sets the attributes of an object to what was typed. This is a plain class, because
    `lmchat` without arguments starts without importing argparse and dataclasses.
    """

    # facts of the command, as in `Subcommand`
    handler = ""  # `module:function`; empty for the chat screen
    takes_local = True  # the chat screen does
    changes_sessions = False

    # options of every command
    endpoint: str | None = None
    allowed_hosts: Sequence[str] = []  # argparse extends a copy of a list
    models: Sequence[str] = []  # the values of all `-m`
    profile: str | None = None
    system_prompt: str | None = None
    resume: str | None = None
    config: str | None = None
    effort: str | None = None
    sampling: Sequence[str] = []  # the values of `--set`
    log_level: str | None = None
    temporary = local = plain = inline = json = False

    # options and arguments of some commands
    port = 8642
    host = "127.0.0.1"
    key: str | None = None
    code = stream_json = tools = yes = is_text = False
    schema: str | None = None
    preset: str | None = None
    start = ""
    dry_run_form = ""
    save: bool | None = None  # None: neither `--save` nor `--no-save`
    refresh = plot = trash = False
    context: int | None = None
    limit = 20
    runs = 1
    choices = "yes,no"
    reasoning = branches = force = False
    output: str | None = None
    all_into: str | None = None
    format = ""
    dry_run = False
    source = "auto"
    jobs: int | None = None
    file = ""
    prompt = id = title = model_id = tool = arguments = shell = ""
    files: Sequence[str] = ()
    query: Sequence[str] = ()

    @property
    def model(self) -> str | None:
        """The value of the last `-m`."""
        return self.models[-1] if self.models else None
