"""Stories of a user at a shell, told as commands and all that they print, in `transcripts`.

A line that begins with "$ " is a command. "| " is a line of its stdin, or of the file that a line
"= NAME" has named; "~ " is the next answer of the server, "! " a line of stderr, "[2]" an exit code
other than 0, and all else is stdout. "…" stands for anything within a line, <A> for the beginning
of an id, which is the same in the whole story, <HOME> and <URL> for the place and the server of the
user. Of a request, `--dry-run` tells what would be sent.
"""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply

pytestmark = pytest.mark.posix  # the names of files have slashes
Cli = Inside

FOLDER = Path(__file__).parent / "transcripts"
LEAVES = ("batch", "imports", "plain")  # the files with stories of these
STORIES = {
    title: (file.stem, story.strip("\n").splitlines())
    for file in sorted(FOLDER.iterdir())
    for title, story in re.findall(
        r"^# (.*)\n((?:(?!# ).*\n)*)", file.read_text(encoding="utf-8"), re.MULTILINE
    )
}
CASES = [
    pytest.param(lines, id=title, marks=[pytest.mark.leaf(name)] if name in LEAVES else ())
    for title, (name, lines) in STORIES.items()
]


class Shell:
    """A user at a shell, who knows the ids that were printed."""

    def __init__(self, cli: Inside) -> None:
        self.cli = cli
        self.known = {"HOME": str(cli.home), "URL": cli.url}

    def filled(self, text: str) -> str:
        return re.sub(r"<([A-Z]+)>", lambda name: self.known[name[1]], text)

    def told(self, wanted: list[str], printed: str) -> bool:
        """Return whether these lines were printed; remember the ids in them."""
        pattern = re.escape("\n".join(wanted)).replace("…", "[^\n]*")
        for name, value in self.known.items():
            pattern = pattern.replace(f"<{name}>", re.escape(value))
        pattern = re.sub("<([A-Z])>", r"(?P<\1>[0-9a-f]{8})", pattern)
        found = re.fullmatch(pattern, printed.removesuffix("\n"))
        self.known |= found.groupdict() if found else {}
        return bool(found)


@pytest.mark.parametrize("lines", CASES)
def test_a_story_of_commands_prints_what_its_transcript_has(cli, server, lines):
    shell = Shell(cli)
    cli.cwd = cli.home
    while lines:
        head, *lines = lines
        given = [line[2:] for line in takewhile(lambda line: line.startswith("| "), lines)]
        text = "".join(f"{shell.filled(line)}\n" for line in given)
        lines = lines[len(given) :]
        if head.startswith("~ "):
            answers = [head, *takewhile(lambda line: line.startswith("~ "), lines)]
            lines = lines[len(answers) - 1 :]
            server.on(CHAT, *(chat_reply(one[2:].replace(r"\n", "\n")) for one in answers))
            continue
        if head.startswith("= "):
            file = cli.home / head[2:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            continue
        printed = [*takewhile(lambda line: not line.startswith(("$ ", "= ", "~ ")), lines)]
        lines = lines[len(printed) :]
        done = cli(*shlex.split(shell.filled(head))[2:], stdin=text)
        kinds: dict[str, list[str]] = {"!": [], "[": [], "": []}
        for line in printed:
            kind = line[0] if re.match(r"! |\[\d\]$", line) else ""
            kinds[kind].append(line[2:] if kind == "!" else line)
        assert kinds["["] == ([f"[{done.returncode}]"] if done.returncode else []), (head, done)
        assert shell.told(kinds[""], done.stdout), (head, done.stdout)
        assert shell.told(kinds["!"], done.stderr), (head, done.stderr)
