"""Runs the small programs around a terminal, with a limit of time."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lmchat.files import command_for, environment_for_others


async def feed(
    argv: Sequence[str], data: bytes, *, environ: Mapping[str, str], timeout_s: float
) -> int | None:
    """Run a program with data on its stdin and return its status; None where it cannot run or takes too long.

    Its output goes nowhere: programs that hold a clipboard stay in the background with it open, so that
    waiting for its end would last for ever. They get a session of their own, to outlive the window.
    """
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=environment_for_others(environ),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await _write(process, data)
                return await process.wait()
        except TimeoutError:
            return None
        finally:
            await _end_group(process)
    return None


async def read(argv: Sequence[str], *, environ: Mapping[str, str], timeout_s: float) -> bytes | None:
    """Run a program and return what it prints; None where it fails or takes too long."""
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment_for_others(environ),
        )
        try:
            async with asyncio.timeout(timeout_s):
                output, _ = await process.communicate()
                return output if process.returncode == 0 else None
        except TimeoutError:
            return None
        finally:
            await end(process)
    return None


def has_shell() -> bool:
    """Say whether a shell with job control started us: only that can bring us back when we are stopped.

    It is the leader of our session then, and has put us into a group of our own.
    """
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except OSError:  # the leader has ended
        return False


async def end(process: Process) -> None:
    """Leave no program behind, whatever interrupted us."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _end_group(process: Process) -> None:
    """End a program that leads a group of its own, with what it has started and waits for."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await end(process)


async def _write(process: Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # it may know enough before it has read all
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
