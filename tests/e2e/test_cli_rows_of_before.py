"""Row files of an earlier lmchat: `batch` and `eval` go on with them, and write the same rows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, plain, repeat

Cli = Inside

FILES = Path(__file__).parent / "data" / "row_files"
_TIMES = re.compile(
    r'("(?:ttft_ms|elapsed_ms|tokens_per_second|timestamp)": )("[^"]*"|[\d.]+|null)'
    r'|"asked_model": "small", '  # which only later versions write
)


def PRODUCT(server):  # noqa: N802 - as the fixture `server` calls it
    return plain(server, "tiny", "small").on(CHAT, repeat)


def timeless(rows: str) -> list[str]:
    """Return the lines of a row file without times, which no two runs share."""
    return _TIMES.sub(r"\1", rows).splitlines()


OPTIONS = ("-p", "shout", "--system", "Be loud.", "--set", "temperature=0.5", "--set", "top_p=0.3")


@pytest.mark.parametrize(
    ("file", "words", "code"),
    [
        ("batch.jsonl", ("batch", "lines.jsonl", "--jobs", "1"), 1),
        ("options.jsonl", ("batch", "lines.jsonl", "--jobs", "1", *OPTIONS, "-m", "tiny"), 1),
        ("eval.jsonl", ("eval", "cases.toml", "-m", "tiny", "-m", "small", "--runs", "2"), 0),
    ],
)
def test_a_file_of_an_earlier_lmchat_gets_the_rows_that_it_lacks_and_no_other(
    cli, server, tmp_path, file, words, code
):
    cli.configure('[prompts.shout]\ntext = "Shout: {{input}}"\n')
    cli.cwd = tmp_path / "files"
    shutil.copytree(FILES, cli.cwd)
    target = cli.cwd / file
    before = (FILES / file).read_text()
    lines = before.splitlines(keepends=True)
    is_answered = ['"error":' not in line for line in lines]
    for kept in (len(lines), len(lines) - 2, 3, 0):  # the next row was cut by a kill
        cut = lines[kept][:50] if kept < len(lines) else ""
        target.write_text("".join(lines[:kept]) + cut)
        asked = len(server.seen(CHAT))
        done = cli(*words, "-o", file)
        assert done.returncode == code, done
        assert len(server.seen(CHAT)) - asked == sum(is_answered[kept:]), (kept, done)
        rows = target.read_text()
        stay = [line for line, is_kept in zip(lines[:kept], is_answered, strict=False) if is_kept]
        assert rows.startswith("".join(stay))
        assert sorted(timeless(rows)) == sorted(timeless(before))
