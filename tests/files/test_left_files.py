from __future__ import annotations

from lmchat.files.disk import locked
from lmchat.files.left_files import left_files
from lmchat.files.paths import Paths
from tests.support.held_files import HOLD_LOCKS, held


def test_each_file_is_named_until_it_is_gone_but_not_one_in_the_editor_of_a_running_lmchat(
    tmp_path,
):
    paths = Paths.find({"LMCHAT_HOME": str(tmp_path)})
    assert left_files(paths) == []
    in_editor = [paths.editor_dir / f"lmchat-{name}" / "prompt.md" for name in ("killed", "runs")]
    left = [
        tmp_path / "unsaved-0123.json",
        tmp_path / "sessions.db.damaged-20261129-100000",
        tmp_path / "state.toml.damaged",
        in_editor[0],
    ]
    companion = tmp_path / "sessions.db.damaged-20261129-100000-wal"
    for file in (*left, companion, in_editor[1]):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with held(HOLD_LOCKS, in_editor[1]):
        sentences = left_files(paths)
        assert len(sentences) == len(left)
        for file, sentence in zip(left, sentences, strict=True):
            assert str(file) in sentence
    for file in (*left, in_editor[1]):
        with locked(file):
            file.unlink()
    assert left_files(paths) == []
