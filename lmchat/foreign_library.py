"""Libraries whose place another folder has taken."""

from __future__ import annotations

import os
import sys

from lmchat.errors import ConfigError


def foreign_library(error: BaseException) -> ConfigError | None:
    """Return the reason for an error if a folder has taken the place of a library.

    Such a folder is named by PYTHONPATH, has the packages of this user, or is the current folder.
    """
    import site  # noqa: PLC0415 - only after an unexpected error
    from importlib.machinery import PathFinder  # noqa: PLC0415

    folders = {os.path.abspath(""): ("", "Start lmchat in another folder.")}  # noqa: PTH100
    if site.ENABLE_USER_SITE:
        next_step = "Start it with: PYTHONNOUSERSITE=1 lmchat"
        folders[site.getusersitepackages()] = (", where the packages of this user are", next_step)
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        next_step = "Start it with: PYTHONPATH= lmchat"
        folders[os.path.abspath(folder)] = (" because PYTHONPATH is set", next_step)  # noqa: PTH100
    folders.pop(os.path.dirname(os.path.dirname(__file__)), None)  # noqa: PTH120 - of lmchat itself

    others = [place for place in sys.path if os.path.abspath(place) not in folders]  # noqa: PTH100
    # A module whose import has failed is only in the traceback. The module `traceback` needs others
    # that may have been replaced, such as `token`.
    found: list[tuple[str, str | None]] = []
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        found.append((frame.f_globals.get("__name__", ""), frame.f_code.co_filename))
    found += [
        (name, getattr(module, "__file__", None))
        for name, module in sys.modules.items()
        if "." not in name
    ]
    if isinstance(error, SyntaxError) and error.filename:  # a file that did not even start to run
        parts = error.filename.removesuffix(".py").split(os.sep)  # noqa: PTH206
        found += [(part, error.filename) for part in parts]
    for name, file in found:
        top_name = name.partition(".")[0]
        for folder, (why, next_step) in folders.items():
            start = os.path.join(folder, top_name)  # noqa: PTH118
            is_there = file and file.startswith((f"{start}.", f"{start}{os.sep}"))
            if is_there and PathFinder.find_spec(top_name, others):  # else it took no place
                return ConfigError(f"{top_name} was taken from {folder}{why}.", next_step=next_step)
    return None
