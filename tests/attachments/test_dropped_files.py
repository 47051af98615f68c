from __future__ import annotations

from lmchat.attachments.dropped_files import named_files


def test_a_dropped_path_is_recognised_as_terminals_write_it(tmp_path, monkeypatch):
    file = tmp_path / "my garden é.png"
    file.write_text("x")
    written = str(file)
    shell, url = written.replace(" ", "\\ "), written.replace(" ", "%20")
    for text in (written, f"'{written}' ", f'"{written}"', shell, f"file://{url}"):
        assert named_files(text) == (file,), text
    assert set(named_files(f"{shell} '{written}'\n")) == {file}
    (tmp_path / "it's.png").write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_files("~/it's.png") == (tmp_path / "it's.png",)


def test_a_path_whose_blanks_were_changed_on_the_way_is_found_if_only_one_file_fits(tmp_path):
    folder = tmp_path / "my\u00a0folder"
    folder.mkdir()
    file = folder / "Screenshot 2026-11-28 at 9.41.00\u202fAM e\u0301.png"
    file.write_text("x")
    plain = f"{tmp_path}/my folder/Screenshot 2026-11-28 at 9.41.00 AM \u00e9.png"
    escaped = plain.replace(" ", "\\ ")
    for text in (plain, f"'{plain}'", escaped, "file://" + plain.replace(" ", "%20")):
        assert named_files(text) == (file,), text
    assert named_files(f"{escaped} '{file}'") == (file, file)
    for text in (f"{plain}.txt", str(tmp_path / "my folder"), f"{tmp_path}/none/a.png"):
        assert named_files(text) == (), text
    (folder / "Screenshot 2026-11-28 at 9.41.00\u2009AM e\u0301.png").write_text("y")
    assert named_files(plain) == ()
    assert named_files(str(file)) == (file,)
