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
