"""`lmchat serve`: one address for all model servers, for other programs."""

from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.run import load
from lmchat.errors import LMChatError

_MISSING = 'lmchat serve needs two more packages; install them: pip install "lmchat[serve]"'
_EXTRA = ("starlette", "uvicorn")


async def serve(context: Context) -> int:
    """Serve until a signal ends this; return exit code 0."""
    try:
        run_server = load("lmchat.cli.serving:run_server")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        raise LMChatError(_MISSING, kind="unsupported") from error
    code: int = await run_server(context)
    return code
