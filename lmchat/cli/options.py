"""What was typed, as values; without argparse, which the chat screen does not need."""

from __future__ import annotations

LEVELS = ("debug", "info", "warning", "error")
"""How much the log file tells."""


class Options:
    """Options and arguments; each attribute holds what is true where nothing was typed.

    A plain class: argparse fills it, and `lmchat` alone starts without argparse and dataclasses.
    """

    handler: str = ""
    """`module:function` of the command; empty for the chat screen."""
    is_json_always: bool = False
    """Whether the command's output is JSON anyway."""

    endpoint: str | None = None
    """`--endpoint`."""
    allow_hosts: tuple[str, ...] = ()
    """Each `--allow-host`."""
    model: str | None = None
    """`--model`."""
    profile: str | None = None
    """`--profile`."""
    system: str | None = None
    """`--system`."""
    resume: str | None = None
    """`--resume`: an id, the beginning of one, or `last`."""
    temporary: bool = False
    """`--temporary`: save nothing."""
    local: bool = False
    """`--local`: use the built-in engine."""
    config: str | None = None
    """`--config`: the file to use."""
    effort: str | None = None
    """`--effort`."""
    log_level: str | None = None
    """`--log-level`."""

    json: bool = False
    """`--json`."""
    stream_json: bool = False
    """`ask --stream-json`."""
    schema: str | None = None
    """`ask --schema`: a file."""
    code: bool = False
    """`ask --code`."""
    yes: bool = False
    """`ask --yes`: fetch the demo model unasked; `sessions purge --yes`."""
    save: bool | None = None
    """`ask --save` or `--no-save`."""
    refresh: bool = False
    """`models --refresh`."""
    plot: bool = False
    """`stats --plot`."""
    trash: bool = False
    """`sessions --trash`."""
    force: bool = False
    """`--force` of `export` and `config init`."""
    reasoning: bool = False
    """`export --reasoning`."""
    branches: bool = False
    """`export --branches`."""
    output: str | None = None
    """`export -o`."""
    all_into: str | None = None
    """`export --all`."""
    format: str = ""
    """`export --format`; empty: by the name of the file."""

    prompt: str = ""
    """Of `ask`."""
    id: str = ""
    """A session."""
    ids: tuple[str, ...] = ()
    """Sessions of `export`."""
    files: tuple[str, ...] = ()
    """Of `import`."""
    dry_run: bool = False
    """`import --dry-run`."""
    copy: bool = False
    """`import --copy`."""
    title: str = ""
    """Of `sessions rename`."""
    model_id: str = ""
    """Of `models load` and `unload`."""
    context: int | None = None
    """`models load --context`."""
    query: tuple[str, ...] = ()
    """Words of `search`."""
    limit: int = 20
    """`search --limit`."""
    shell: str = ""
    """Of `completion`."""
