from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmchat.core.attachments.dropped_files import named_files


@pytest.mark.posix
def test_a_dropped_path_is_recognised_as_terminals_write_it(tmp_path, monkeypatch):
    file = tmp_path / "my garden é.png"
    file.write_text("x", encoding="utf-8")
    written = str(file)
    shell = written.replace(" ", "\\ ")
    url = written.replace(" ", "%20")
    addresses = (f"file://{url}", f"file://LOCALHOST{url}", f"file:{url}")
    for text in (written, f"'{written}' ", f'"{written}"', shell, *addresses):
        assert named_files(text) == (file,), text
    assert set(named_files(f"{shell} '{written}'\n")) == {file}
    for text in (
        f"file://elsewhere{url}",
        f"file:////{url}",
        f"file:{file.name}",
        "~nobody-here/a",
    ):
        assert named_files(text) == (), text
    (tmp_path / "it's.png").write_text("x", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_files("~/it's.png") == (tmp_path / "it's.png",)


def test_a_path_whose_blanks_were_changed_on_the_way_is_found_if_only_one_file_fits(tmp_path):
    folder = tmp_path / "my\u00a0folder"
    folder.mkdir()
    file = folder / "Screenshot 2026-11-28 at 9.41.00\u202fAM e\u0301.png"
    file.write_text("x", encoding="utf-8")
    plain = f"{tmp_path}/my folder/Screenshot 2026-11-28 at 9.41.00 AM \u00e9.png"
    escaped = f'"{plain}"' if os.name == "nt" else plain.replace(" ", "\\ ")
    for text in (plain, f"'{plain}'", escaped, Path(plain).as_uri()):
        assert named_files(text) == (file,), text
    assert named_files(f"{escaped} '{file}'") == (file, file)
    for text in (f"{plain}.txt", str(tmp_path / "my folder"), f"{tmp_path}/none/a.png"):
        assert named_files(text) == (), text
    (folder / "Screenshot 2026-11-28 at 9.41.00\u2009AM e\u0301.png").write_text(
        "y", encoding="utf-8"
    )
    assert named_files(plain) == ()
    assert named_files(str(file)) == (file,)


@pytest.mark.windows
def test_files_that_were_dropped_on_a_terminal_of_windows_are_recognised(tmp_path):
    file = tmp_path / "my garden é.png"
    file.write_text("x", encoding="utf-8")
    other = tmp_path / "b.png"
    other.write_text("x", encoding="utf-8")
    for text in (str(file), f'"{file}"', file.as_uri()):
        assert named_files(text) == (file,), text
    assert named_files(f'"{file}" {other}') == (file, other)
    assert (
        named_files(rf"\\?\{file}") == ()
    )  # Windows would log in at a machine behind two backslashes
