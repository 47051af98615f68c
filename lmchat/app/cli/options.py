"""Options and arguments of the command line, with their defaults."""

from __future__ import annotations

from collections.abc import Sequence

LEVELS = ("debug", "info", "warning", "error")  # of the log
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1")


class ParsedOptions:
    """Options and arguments; the attributes of the class are the defaults.

    An attribute has the name of its option or argument, or the `dest` in the table. None: not
    given. A plain class: `lmchat` alone starts without argparse and dataclasses.
    """

    # of the command, as in `Subcommand`; the defaults are those of `lmchat` alone
    handler = ""  # `module:function`, or "" without a command
    names_left_files = True

    # options of the chat and of many commands
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
    dry_run_form = ""  # of `ask --dry-run`: "json" or "curl"
    save: bool | None = None  # None: neither `--save` nor `--no-save`
    trash = False
    context: int | None = None  # tokens
    limit = 20
    runs = 1
    choices = "yes,no"  # `--options` of `decide`
    reasoning = branches = force = False
    output: str | None = None
    all_into: str | None = None  # folder of `export --all`
    format = ""  # "": by the name of the file, otherwise Markdown
    dry_run = False  # of `import`
    source = "auto"  # `--from` of `import`
    jobs: int | None = None
    file = ""
    ids: Sequence[str] = []
    prompt = id = title = model_id = tool = arguments = shell = server = from_file = ""
    files: Sequence[str] = []
    words: Sequence[str] = ()
    variables: Sequence[str] = []  # the values of all `--env` of `tools add`
    query: Sequence[str] = ()

    @property
    def output_file(self) -> str | None:
        return None if self.output in _STDOUT else self.output

    @property
    def model(self) -> str | None:
        return self.models[-1] if self.models else None
