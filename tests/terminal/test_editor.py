from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.terminal.programs import Editor, editor_command, show_in_pager
from tests.support.programs import put_script


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def make(script: str) -> dict[str, str]:
        file = put_script(tmp_path / "an editor", script)
        return {"EDITOR": f"'{file}'", "PAGER": f"'{file}'", "PATH": os.environ["PATH"]}

    return make


async def edit(text: str, environ: dict[str, str], at_once_s: float = 0) -> str:
    with ExitStack() as folders:
        editor = Editor(text, folders=folders, environ=environ)
        editor.at_once_s = at_once_s
        return await editor.run()


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob("lmchat-*"))


@pytest.mark.posix
async def test_what_was_edited_comes_back_and_nothing_is_left_behind(tool, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    environ = tool(
        f'cat "$1" > {seen}; ls -ld "$(dirname "$1")" >> {seen}; printf "more\\n" >> "$1"'
    )
    assert await edit("words ", environ=environ) == "words more"
    assert seen.read_text(encoding="utf-8").startswith("words drwx------")
    assert left_behind(tmp_path) == []
    assert await edit("words\n", environ=tool("true")) == "words\n"


@pytest.mark.posix
async def test_an_editor_that_returns_at_once_is_to_be_told_to_wait(tool, tmp_path: Path) -> None:
    environ = tool("true &")
    with pytest.raises(LMChatError, match="an editor returned at once; nothing was") as caught:
        await edit("words", environ, at_once_s=60)
    assert caught.value.hint == 'If it opens a window, set EDITOR to "an editor --wait".'
    environ["VISUAL"] = environ["EDITOR"]
    with pytest.raises(LMChatError) as caught:
        await edit("words", environ, at_once_s=60)
    assert 'set VISUAL to "an editor --wait"' in caught.value.hint
    assert await edit("words", {**environ, "VISUAL": f"{environ['EDITOR']} --wait"}, 60) == "words"
    assert await edit("words", tool('printf more >> "$1"'), at_once_s=60) == "wordsmore"
    assert left_behind(tmp_path) == []


@pytest.mark.posix
@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("exit 3", LMChatError, "an editor ended with status 3; nothing was changed"),
        ('rm "$1"', FileRefused, "deleted the file"),
    ],
)
async def test_an_editor_that_leaves_no_text_changes_nothing(
    tool, tmp_path: Path, script, error, words
) -> None:
    with pytest.raises(error, match=words):
        await edit("words", environ=tool(script))
    assert left_behind(tmp_path) == []


@pytest.mark.posix
@pytest.mark.parametrize(
    ("script", "words", "saved"),
    [
        (
            "printf more >> $1; exit 1",
            "ended with status 1; what it had saved was kept",
            "wordsmore",
        ),
        ("printf more >> $1; kill -9 $$", "ended with status", "wordsmore"),
        ("printf 'caf\\351\\n' > \"$1\"", "not UTF-8 text", "caf\ufffd"),
    ],
)
async def test_what_a_failing_editor_has_saved_is_known(tool, script, words, saved) -> None:
    with ExitStack() as folders:
        editor = Editor("words", folders=folders, environ=tool(script))
        with pytest.raises(LMChatError, match=words):
            await editor.run()
    assert editor.saved_text == saved


@pytest.mark.posix
async def test_what_a_running_editor_has_saved_can_be_read(tool, tmp_path: Path) -> None:
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    with ExitStack() as folders:
        environ = tool(f'printf saved > "$1"; echo > {fifo}; exec sleep 60')
        editor = Editor("words", folders=folders, environ=environ)
        task = asyncio.ensure_future(editor.run())
        await asyncio.to_thread(fifo.read_text)
        await editor.read()
        assert editor.saved_text == "saved"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_editor_that_is_not_there_is_told_with_the_next_step() -> None:
    with pytest.raises(WrongUse, match="nowhere cannot be run") as caught:
        await edit("words", environ={"EDITOR": "/nowhere"})
    assert "$EDITOR" in caught.value.hint


@pytest.mark.posix
async def test_cancelling_ends_the_editor(tool, tmp_path: Path) -> None:
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    environ = tool(f"echo $$ > {fifo}; exec sleep 60")
    task = asyncio.ensure_future(edit("words", environ=environ))
    number = int(await asyncio.to_thread(fifo.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_visual_goes_before_editor_and_both_may_have_options() -> None:
    assert editor_command({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor_command({"VISUAL": "  ", "EDITOR": "vi"}) == ["vi"]


@pytest.mark.posix
async def test_the_pager_gets_safe_text(tool, tmp_path: Path) -> None:
    await show_in_pager("a\x1b[2Jb", environ=tool(f"cat > {tmp_path}/seen"))
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "a\u241b[2Jb"


@pytest.mark.posix
async def test_a_pager_that_is_left_early_is_no_error(tool) -> None:
    await show_in_pager("line\n" * 500_000, environ=tool("head -1 > /dev/null"))
