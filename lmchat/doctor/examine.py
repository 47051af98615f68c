"""The table of the doctor's checks, and what runs them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import starmap

from lmchat.config.file import Problem
from lmchat.config.load import Loaded
from lmchat.doctor.machine_checks import (
    CONFIG,
    ENGINE,
    FOLDER,
    LOCALE,
    STORE,
    TOOLS,
    VERSION,
    config_findings,
    engine_findings,
    folder_findings,
    locale_findings,
    store_findings,
    version_findings,
)
from lmchat.doctor.report import Check, CheckResult, Findings, Grade
from lmchat.doctor.server_checks import SERVERS
from lmchat.errors import LMChatError, log_bug
from lmchat.files.paths import Paths
from lmchat.processes.threads import in_thread

_LIMIT_S = 15.0  # finding servers takes up to 5 s, and tool servers have 8 s to start

FindRows = Callable[[], Awaitable[Findings]]


async def examine(
    paths: Paths,
    loaded: Loaded,
    environ: Mapping[str, str],
    *,
    problems: Callable[[], Sequence[Problem]],
    check_servers: FindRows,
    check_tools: FindRows,
) -> list[CheckResult]:
    """Run all checks and return their rows.

    `problems` returns those of `loaded`, of its keyboard keys and of its theme. It is called in a
    thread.
    `check_servers` and `check_tools` are the checks that depend on the options of a run.
    """
    checks = (
        (SERVERS, check_servers),
        (CONFIG, in_thread(lambda: config_findings(loaded, problems()))),
        (FOLDER, partial(in_thread(folder_findings), paths.config_dir)),
        (STORE, partial(in_thread(store_findings), paths.sessions_file)),
        (LOCALE, partial(in_thread(locale_findings), environ)),
        (TOOLS, check_tools),
        (ENGINE, in_thread(engine_findings)),
        (VERSION, partial(in_thread(version_findings), paths.log_file)),
    )
    return await run_checks(checks)


async def run_checks(
    checks: Sequence[tuple[Check, FindRows]], *, limit_s: float = _LIMIT_S
) -> list[CheckResult]:
    """Run all checks at once; return their rows in the order of the checks.

    For a check that fails, or takes longer than `limit_s`, there is one row that says so.
    """

    async def run(check: Check, find_rows: FindRows) -> Findings:
        """Return the rows of a check, or the one that says how it failed."""
        try:
            async with asyncio.timeout(limit_s):
                return await find_rows()
        except TimeoutError:
            cause = f"The check did not finish within {limit_s:g} s."
            step = "Check the disk, network folder or program it waits for"
        except LMChatError as error:
            cause, step = error.message, error.hint or "lmchat config check"
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            cause = f"The check itself failed ({type(error).__name__}, error {log_bug(error)})."
            step = "The log file has details under this id"
        return [check.row(Grade.FAULT, cause, step)]

    found = await asyncio.gather(*starmap(run, checks))
    return [row for rows in found for row in rows]
