"""Entry of `lmchat` and `python -m lmchat`; imports almost nothing, for a fast `--version`."""

from __future__ import annotations

import gc
import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command; `argv` has no name of the program, None means that of this process.

    Return 0 if the reader of stdout closed its pipe, and 130 after Ctrl+C.
    """
    words = sys.argv[1:] if argv is None else argv
    if argv is not None or words == ["--version"]:
        return _run(words)
    try:
        from lmchat.base.processes.signals import end_at_once_on_interrupt

        end_at_once_on_interrupt()
    except Exception as error:  # noqa: BLE001 - raised again, but for a failed import
        return _failed_import(error)
    gc.disable()  # imported objects stay; looking for garbage among them takes 5 % of a start
    try:
        return _run(words)
    finally:
        end_at_once_on_interrupt()


def _run(argv: list[str]) -> int:
    try:
        if argv == ["--version"] and _has_printed_version():
            code = 0
        else:
            # where click is installed, httpx imports its own command line: a third of a start
            sys.modules["httpx._main"] = None  # type: ignore[assignment]
            from lmchat.app.cli.run import run

            code = run(argv)
    except BrokenPipeError:
        code = 0  # the reader of the pipe has read enough
    except KeyboardInterrupt:
        code = 130  # 128 and SIGINT, as shells report it
    except Exception as error:  # noqa: BLE001 - a failed import: `run` prints all others
        code = _failed_import(error)
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:  # a process may lack it
                stream.flush()
        except OSError:  # as at a closed pipe; Python would report it again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return code


def _failed_import(error: Exception) -> int:
    """Return the exit code, or raise the error again if nothing can be advised."""
    from lmchat.base.errors import pythonpath_hint

    if not (hint := pythonpath_hint()):
        raise error
    sys.stderr.write(f"lmchat: A library cannot be used: {error!r}.\n{hint}\n")
    return 1


def _has_printed_version() -> bool:
    from lmchat import __version__

    try:
        print(f"lmchat {__version__}", flush=True)  # noqa: T201 - nothing without stdout
    except OSError:  # the parser prints it, too, and says why it cannot
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
