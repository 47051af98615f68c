"""`lmchat doctor`: its report on a terminal or in a pipe."""

from __future__ import annotations

import shutil
import sys
from contextlib import aclosing

from lmchat.app.cli.context import Context
from lmchat.app.cli.setup.wiring import setup_of
from lmchat.app.leaves.doctor.checks import find_rows
from lmchat.app.leaves.doctor.finding import Grade
from lmchat.app.leaves.doctor.report import report_json, report_text, worst_grade
from lmchat.app.terminal.output import is_terminal
from lmchat.base.units import timestamp

_MAX_COLUMNS = 120  # of a report on a terminal


async def doctor(context: Context) -> int:
    """Print the report; return 1 if a check has the grade `FAULT`, else 0."""
    context.tells_notes = False  # a row of the configuration tells them
    setup = setup_of(context)
    state = await setup.saved_state()
    # `context.settings` raises for a wrong configuration, here only a row
    backend, _ = setup.make_backend(context.loaded.settings, state)
    async with aclosing(backend):
        findings = await find_rows(context, backend)
    if context.output.is_json:
        context.output.print_json(report_json(findings, timestamp()))
    elif is_terminal(sys.stdout):
        width = min(shutil.get_terminal_size().columns, _MAX_COLUMNS)
        context.output.print_safe(report_text(findings, width))
    else:
        context.output.print_safe(report_text(findings))
    return 1 if worst_grade(findings) is Grade.FAULT else 0
