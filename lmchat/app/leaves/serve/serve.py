"""`lmchat serve`: one address for all model servers, for other programs."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from select import select

from lmchat.api.runtime import Runtime
from lmchat.app.cli.context import Context
from lmchat.app.cli.setup.wiring import open_runtime
from lmchat.app.terminal.output import Output
from lmchat.base.errors import LMChatError, WrongUse, pythonpath_hint
from lmchat.base.extras import install_command
from lmchat.base.processes.background import background_task
from lmchat.base.processes.signals import ENDING_SIGNALS
from lmchat.base.safe_text import header_value
from lmchat.base.units import counted, rate
from lmchat.core.servers.discovery.status import ServerStatus, usable_of
from lmchat.core.servers.endpoint import bracketed, is_loopback_host, loopback
from lmchat.core.servers.model import ModelInfo, name_and_address

try:
    import uvicorn

    from lmchat.app.leaves.serve.app import API, RequestReport, ServeApp
    from lmchat.app.leaves.serve.model_routes import ModelRoutes, ServerWatch
except ModuleNotFoundError as error:
    text = f"lmchat serve needs two more packages; install them: {install_command('serve')}"
    raise LMChatError(text, kind="unsupported", next_step=pythonpath_hint()) from error

END_S = 5  # that running answers have after a signal
KEEP_ALIVE_S = 75  # until an idle connection is closed; clients close theirs sooner
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")  # as in a `Host` header
_KEY_VARIABLE = "LMCHAT_SERVE_KEY"  # in place of `--key`, which the list of processes shows
_STDERR = 2
_BACKLOG = 2048  # that may wait in the queue of the socket
# so that a row has less than 80 columns
_PROGRAM_COLUMNS = 18
_MODEL_COLUMNS = 24


async def serve(context: Context) -> int:
    """Listen, look for servers, and serve until a signal; return exit code 0."""
    options = context.options
    given = options.key or context.environ.get(_KEY_VARIABLE)
    try:
        key = header_value(given or "")  # "" for a key of blanks
    except ValueError as error:
        raise WrongUse(
            f"The value of --key or {_KEY_VARIABLE} {error}.", next_step="Choose another key."
        ) from None
    if given is not None and not key:
        raise WrongUse(f"{_KEY_VARIABLE} is empty.", next_step="Unset it to serve without a key.")
    if not is_loopback_host(options.host) and not key:
        raise WrongUse(
            "--host with an address of another network needs --key.",
            next_step=f"Add --key KEY or set {_KEY_VARIABLE}; each program then has to send this "
            "key.",
        )
    listening = _listen(options.host, options.port)
    port: int = listening.getsockname()[1]  # any free port for 0
    try:
        host = bracketed(options.host)
        # Without a key, only requests to these hosts are served: else a web page could send some by
        # a host name of its own that leads here.
        own_names = (*_LOOPBACK_HOSTS, host.lower())
        async with open_runtime(context) as runtime:
            find = partial(_find_others, runtime, loopback(port).netloc)
            watch = ServerWatch(find, partial(_print_servers, context.output))
            await watch.look()  # the first request needs to know the servers
            app = ServeApp(
                client=runtime.backend,
                watch=watch,
                settings=runtime.settings,
                finder=runtime.finder(),
                hosts=frozenset((*own_names, *(f"{name}:{port}" for name in own_names))),
                key=key,
                stats_store=runtime.stats_store,
                on_request=partial(_print_report, context.output),
                on_remote=partial(_note_remote, context.output, set()),
                log_unexpected=context.log_unexpected,
            )
            config = uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # lmchat has a log of its own
                access_log=False,
                server_header=False,
                headers=[("Server", "lmchat")],
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=END_S,
            )
            server = _Server(config)
            with server.ended_by_signals():
                line = f"Serving at http://{host}:{port}{API}; Ctrl+C ends it."
                context.output.print_lines([line])
                _print_servers(context.output, watch.routes)
                async with background_task(watch.run()):
                    await server.serve(sockets=[listening])
    finally:
        listening.close()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises `WrongUse`.

    Connections wait in its queue until servers were looked for. Without the named protocol, asyncio
    leaves Nagle's algorithm on, which delays first bytes by 40 ms.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # on Windows, others could take the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError, TypeError) as error:  # port in use or too large, wrong host
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else "no such host or port"
        raise WrongUse(
            f"Cannot listen at {host}, port {port}: {reason}.",
            next_step="Choose another --host or --port, or end the program that uses the port.",
        ) from error
    return listening


class _Server(uvicorn.Server):
    """Server of uvicorn that ends with exit code 0 after a signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again after its end."""
        yield

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Let signals end the server while the block runs.

        Running answers have `END_S`; a second Ctrl+C ends them at once. An ignored signal stays so,
        as Ctrl+C is for background programs of a script.
        """
        previous_handlers = {
            number: signal.signal(number, self.handle_exit)
            for number in ENDING_SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)


async def _find_others(runtime: Runtime, own_address: str) -> tuple[ServerStatus, ...]:
    """Look for other servers: this one would pass requests on to itself.

    It is not for a request, so it is not counted.
    """
    servers = await runtime.finder().look(is_counted=False)
    return tuple(found for found in servers if found.endpoint.netloc != own_address)


def _print_servers(output: Output, routes: ModelRoutes) -> None:
    servers = [
        f"{name_and_address(server.product, server.endpoint.netloc)} "
        f"({counted(len(server.models), 'model')})"
        for server in usable_of(routes.servers)
    ]
    _note(output, f"Servers: {', '.join(servers) or 'none found yet'}")


def _print_report(output: Output, report: RequestReport) -> None:
    """Print a request on stderr: time, program, model, status, TTFT, speed.

    Without a model, its path. The status is that of HTTP, or "closed" if no reply has started.
    """
    stats = report.stats
    status = str(report.status or "closed")
    measured = ""
    if stats is not None:
        if stats.ttft_ms is not None:
            measured += f"  {stats.ttft_ms / 1e3:.2f} s"
        if stats.tokens_per_second is not None:
            measured += f"  {rate(stats.tokens_per_second)}"
    clock = datetime.now().astimezone().strftime("%H:%M:%S")
    program = f"{report.program[:_PROGRAM_COLUMNS] or '-':<{_PROGRAM_COLUMNS}}"
    subject = f"{report.subject[:_MODEL_COLUMNS]:<{_MODEL_COLUMNS}}"
    _note(output, f"{clock}  {program}  {subject}  {status}{measured}")


def _note_remote(output: Output, noted: set[str], model: ModelInfo) -> None:
    """Note on stderr that prompts leave this machine, once each."""
    if model.remote_note not in noted:
        noted.add(model.remote_note)
        _note(output, f"lmchat: {model.remote_note}")


def _note(output: Output, text: str) -> None:
    """Drop what stderr cannot take now: a pipe that nobody reads would stop all answers."""
    with suppress(OSError):  # Windows can ask only sockets
        if not select((), (_STDERR,), (), 0)[1]:
            return
    output.note(text)
