"""Commands of documents: recipes of `docs/scripts.md`, a shell to run them, and lines of a shell."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from tests.support.programs import LMCHAT, ROOT, put_script, run

PAGE = ROOT / "docs" / "scripts.md"
_SEPARATORS = {"|", "&&", "||", ";", ">", ">>", "<", "&", ")"}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def recipe(heading: str, language: str = "sh") -> str:
    """Return the only code block below a heading, up to the next one."""
    _, following = PAGE.read_text(encoding="utf-8").split(f"\n{heading}\n")
    section = re.split(r"^#+ ", following, maxsplit=1, flags=re.MULTILINE)[0]
    ((written_in, block),) = _BLOCK.findall(section)
    assert written_in == language
    return block


def commands_of(line: str) -> list[tuple[str, ...]]:
    """Return the words after each `lmchat` of a line of a shell, without its redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    is_inside = False
    for word in lexer:
        if word in _SEPARATORS:
            is_inside = False
        elif word == "lmchat" or word.endswith("/lmchat"):
            is_inside = True
            found.append([])
        elif is_inside:
            found[-1].append(word)
    return [tuple(words) for words in found]


class Shell:
    """A shell in a folder of its own, whose `lmchat` uses one server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._home = folder
        self._env = {"LMCHAT_ENDPOINT": url, "PYTHONPATH": str(ROOT)}
        program = put_script(folder / "bin" / "lmchat", f'exec {shlex.join(LMCHAT)} "$@"')
        self._env["PATH"] = os.pathsep.join((str(program.parent), os.environ["PATH"]))

    def write(self, **texts: str) -> None:
        """Write files, named with `_` for `.`."""
        for name, text in texts.items():
            (self.folder / name.replace("_", ".")).write_text(text, encoding="utf-8")

    def names(self, folder: str) -> set[str]:
        return {path.name for path in (self.folder / folder).iterdir()}

    def __call__(self, commands: str):
        """Run commands as a script would, and return what they printed."""
        words = ["/bin/sh", "-c", commands]
        return run(words, home=self._home, cwd=self.folder, env=self._env, wait_s=60)
