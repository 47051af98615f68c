"""Which paths are outside of the folder, so that they are read after a question alone."""

from __future__ import annotations

import pytest

from lmchat.base.errors import WrongUse
from lmchat.core.attachments.given_files import GivenFiles
from lmchat.core.config.settings import Settings


async def test_what_lies_outside_the_folder_is_read_only_after_a_yes(tmp_path, monkeypatch):
    names = "id_rsa", "own/.ssh/key", "own/notes.md", "own/beds/peas.md"
    for name in (*names, *(f"other/{number}.md" for number in range(9))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("Words.", encoding="utf-8")
    (tmp_path / "own/link.md").symlink_to(tmp_path / "id_rsa")
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path / "own")
    shown: list[str] = []

    async def answer(question) -> bool:
        shown.append(question.text)
        return is_willing

    given = GivenFiles(Settings(), answer)
    many = " ".join((tmp_path / f"other/{number}.md").as_uri() for number in range(9))
    for name, asked, count in (
        (f"{tmp_path}/id_rsa", "id_rsa", 1),
        ("../id_rsa", "id_rsa", 1),
        (f"{tmp_path}/own/../id_rsa", "id_rsa", 1),
        (f"{tmp_path}/own/link.md", "id_rsa", 1),
        ("link.md", "id_rsa", 1),
        ("~/.ssh/key", "key", 1),  # hidden in the home folder
        (many, "7.md\nand 1 more file", 9),
        ("../other", "other", 9),
        ("../other/*", "other", 9),
        ("~/notes.md", "", 1),
        ("beds", "", 1),
    ):
        shown.clear()
        is_willing = False
        if asked:
            with pytest.raises(WrongUse, match="was not attached"):
                await given.named(name)
            is_willing = True
        files, _ = await given.named(name)
        assert len(files) == count, name
        assert [text.endswith(asked) for text in shown] == [True, True] * bool(asked), name
