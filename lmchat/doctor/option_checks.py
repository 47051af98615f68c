"""Rows of the doctor's report about configuration and tool servers.

Both depend on the options of the run, which `cli/setup/doctor_checks.py` knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from lmchat.config.file import Problem
from lmchat.config.load import LoadedSettings
from lmchat.doctor.check import Check, Finding, Grade, Group
from lmchat.tools.protocols import ServerState, ToolServer

CONFIG = Check(Group.FILES, "config", "Configuration")
TOOLS = Check(Group.TOOLS, "tools", "Tools")
"""Check of the tool servers. If it fails, its one row has these names; others have their own."""


def config_findings(loaded: LoadedSettings, problems: Sequence[Problem]) -> list[Finding]:
    """Return a row for each problem of the configuration, or a row that says there is none.

    `problems` has the problems of `loaded`, of its keyboard keys, and of its theme.
    """
    if problems:
        step = "Correct it, then lmchat config check"
        return [CONFIG.row(Grade.FAULT, problem.sentence, step) for problem in problems]
    if loaded.has_file:
        return [CONFIG.row(Grade.OK, f"{loaded.file} has no problems.")]
    return [CONFIG.row(Grade.OK, f"{loaded.file} does not exist; the defaults apply.")]


def tool_findings(
    servers: Sequence[ToolServer], steps: Mapping[str, str], *, waited_s: float
) -> list[Finding]:
    """Return a row for each tool server, `waited_s` after it was started.

    `steps` says how to correct each server, by its name.
    """
    row = partial(Finding, TOOLS.group, TOOLS.check)
    rows: list[Finding] = []
    for server in servers:
        step = steps[server.name]  # the text of the report leaves it out for `OK`
        if server.state is ServerState.READY:  # an error means that some of its tools are left out
            grade = Grade.WARNING if server.error else Grade.OK
            cause = f"It is {server.state_sentence}"
        elif server.state is ServerState.STARTING:
            grade = Grade.WARNING
            cause = f"No answer within {waited_s:g} s."
            step = "Run lmchat tools, which waits longer; then check the server"
        else:
            grade = Grade.FAULT
            cause = f"It has {server.state_sentence}"
        rows.append(row(server.name, grade, cause, step))
    return rows
