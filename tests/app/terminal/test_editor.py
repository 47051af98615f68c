from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lmchat.app.terminal.programs import Editor, editor_command, show_in_pager
from lmchat.base.errors import FileRefused, LMChatError, WrongUse
from tests.support.programs import PYTHON, is_running, until
from tests.support.small_programs import put


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def make(code: str) -> dict[str, str]:
        """Stand in as the editor and as the pager with a program; `file` is what it edits."""
        program = put(tmp_path, "an editor", f"import os, sys, time\nfile = sys.argv[-1]\n{code}")
        return environment(f"'{program}'")

    return make


def environment(command: str) -> dict[str, str]:
    return {**os.environ, "VISUAL": "", "EDITOR": command, "PAGER": command}


async def edit(text: str, environ: dict[str, str], at_once_s: float = 0) -> str:
    editor = Editor(text, environ=environ)
    editor.at_once_s = at_once_s
    return await editor.run()


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob("lmchat-*"))


async def test_what_was_edited_comes_back_and_nothing_is_left_behind(tool, tmp_path: Path):
    seen = tmp_path / "seen"
    mode = "oct(os.stat(os.path.dirname(file)).st_mode)[-3:]"
    environ = tool(
        f"open({str(seen)!r}, 'w').write(open(file).read() + {mode}); open(file, 'a').write('more')"
    )
    assert await edit("words ", environ=environ) == "words more"
    assert seen.read_text(encoding="utf-8") == f"words {777 if os.name == 'nt' else 700}"
    assert left_behind(tmp_path) == []
    assert await edit("words\n", environ=tool("")) == "words\n"


async def test_an_editor_that_returns_at_once_is_to_be_told_to_wait(tool, tmp_path: Path):
    environ = tool("")
    name = "an editor.cmd" if os.name == "nt" else "an editor"
    with pytest.raises(LMChatError, match=f"{name} returned at once; nothing was") as caught:
        await edit("words", environ, at_once_s=60)
    command = environ["EDITOR"]
    assert caught.value.next_step == f"If it opens a window, set EDITOR to: {command} --wait"
    environ["VISUAL"] = environ["EDITOR"]
    with pytest.raises(LMChatError) as caught:
        await edit("words", environ, at_once_s=60)
    assert f"set VISUAL to: {command} --wait" in caught.value.next_step
    assert await edit("words", {**environ, "VISUAL": f"{environ['EDITOR']} --wait"}, 60) == "words"
    environ = tool("open(file, 'a').write('more')")
    assert await edit("words", environ, at_once_s=60) == "wordsmore"
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("sys.exit(3)", LMChatError, "ended with status 3; nothing was changed"),
        ("os.remove(file)", FileRefused, "deleted the file"),
        ("os.remove(file); os.mkdir(file)", FileRefused, "edited: Is a directory; nothing"),
    ],
)
async def test_an_editor_that_leaves_no_text_changes_nothing(
    tool, tmp_path: Path, code, error, words
) -> None:
    with pytest.raises(error, match=words):
        await edit("words", environ=tool(code))
    assert left_behind(tmp_path) == []


_MORE = "open(file, 'a').write('more'); "


@pytest.mark.parametrize(
    ("code", "words", "saved"),
    [
        (f"{_MORE}sys.exit(1)", "ended with status 1; what it had saved was kept", "wordsmore"),
        (f"{_MORE}os.kill(os.getpid(), 9)", "ended with status", "wordsmore"),
        ("open(file, 'wb').write(b'caf\\xe9\\n')", "not UTF-8 text", "caf\ufffd"),
    ],
)
async def test_what_a_failing_editor_has_saved_is_known(tool, code, words, saved):
    editor = Editor("words", environ=tool(code))
    with pytest.raises(LMChatError, match=words):
        await editor.run()
    assert editor.saved_text == saved


async def test_cancelling_ends_a_running_editor_and_what_it_has_saved_can_be_read(
    tmp_path: Path,
) -> None:
    started = tmp_path / "begun"
    program = tmp_path / "editor.py"
    program.write_text(
        f"import os, sys, time; open(sys.argv[1], 'w').write('saved'); "
        f"open({str(started)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(600)",
        encoding="utf-8",
    )
    editor = Editor("words", environ=environment(f"'{PYTHON}' '{program}'"))
    task = asyncio.ensure_future(editor.run())
    await until(lambda: started.exists() and started.read_text(encoding="utf-8"), "the editor")
    await editor.read()
    assert editor.saved_text == "saved"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(int(started.read_text(encoding="utf-8").rstrip(".")))


async def test_an_editor_that_is_not_there_is_told_with_the_next_step():
    with pytest.raises(WrongUse, match="nowhere cannot be run") as caught:
        await edit("words", environ={"EDITOR": "/nowhere"})
    assert "$EDITOR" in caught.value.next_step


def test_visual_goes_before_editor_and_both_may_have_options():
    assert editor_command({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor_command({"VISUAL": "  ", "EDITOR": "vi"}) == ["vi"]


async def test_the_pager_gets_safe_text(tool, tmp_path: Path):
    seen = tmp_path / "seen"
    code = f"open({str(seen)!r}, 'wb').write(sys.stdin.buffer.read())"
    await show_in_pager("a\x1b[2Jb", environ=tool(code))
    assert seen.read_text(encoding="utf-8") == "a\u241b[2Jb"


async def test_a_pager_that_is_left_early_is_no_error(tool, tmp_path: Path):
    seen = tmp_path / "seen"
    code = f"open({str(seen)!r}, 'w').write(sys.stdin.readline())"
    await show_in_pager("line\n" * 500_000, environ=tool(code))
    assert seen.read_text(encoding="utf-8") == "line\n"
