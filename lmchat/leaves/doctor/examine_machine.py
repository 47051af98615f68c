"""What the checks of `lmchat doctor` and `/doctor` need of a run; their list is in `doctor`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial

from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import find_installed
from lmchat.cli.setup.wiring import setup_of
from lmchat.leaves.doctor.checks import START_ENGINE, examine, tool_findings
from lmchat.leaves.doctor.finding import Finding, Findings
from lmchat.leaves.doctor.report import report_text, summary
from lmchat.leaves.doctor.server_checks import key_findings, server_findings
from lmchat.processes.background import run_abandonable
from lmchat.servers.discovery.finder import ServerFinder
from lmchat.servers.local.installed import engine_command
from lmchat.servers.protocols import ServerClient
from lmchat.tui.workspace import Report

_TOOLS_S = 8.0  # a slower tool server may be downloading itself, or hang


async def report_on_machine(context: Context, backend: ServerClient) -> Report:
    """Return the report of `/doctor`."""
    findings = await examine_machine(context, backend)
    return Report(partial(report_text, findings), summary(findings))


async def examine_machine(context: Context, backend: ServerClient) -> list[Finding]:
    return await examine(
        find_server_rows=partial(_check_servers, context, backend),
        find_tool_rows=partial(_check_tools, context),
        loaded=context.loaded,
        find_problems=lambda: context.problems,
        paths=context.paths,
        environ=context.environ,
    )


async def _check_servers(context: Context, backend: ServerClient) -> Findings:
    """Look for servers as the chat does."""
    settings = context.loaded.settings
    keys = setup_of(context).keys
    warning = await run_abandonable(keys.load)  # first: servers are asked with the keys
    finder = ServerFinder(backend.models, settings, await setup_of(context).saved_state())
    servers = await finder.search()
    is_named = bool(settings.endpoint)
    has_engine = await run_abandonable(partial(engine_command, context.environ))
    rows = server_findings(
        servers,
        finder.choice(is_named=is_named),
        installed=await run_abandonable(partial(find_installed, context)),
        is_named=is_named,
        engine_step=START_ENGINE if has_engine else "",
        is_misconfigured=bool(context.loaded.problems),
    )
    sources = {server.endpoint.origin: keys.source_of(server.endpoint) for server in servers}
    return [*rows, *key_findings(servers, sources, [*keys.stored], warning)]


async def _check_tools(context: Context) -> Findings:
    """Start the tool servers, wait up to `_TOOLS_S`, return a row for each, and stop them."""
    if not context.has_tools:
        return []
    loaded, state = context.loaded, await setup_of(context).saved_state()
    toolbox = setup_of(context).make_toolbox(loaded.settings, loaded.servers, state)
    async with aclosing(toolbox.host) as host:
        with suppress(TimeoutError):  # one that still starts has a row, too
            async with asyncio.timeout(_TOOLS_S):
                await host.start_servers()
        return tool_findings(host.servers, waited_s=_TOOLS_S)
