from __future__ import annotations

import pytest

from lmchat.base.files.disk import locked
from lmchat.base.files.left_files import left_files
from lmchat.base.files.paths import Paths
from tests.support.faults import no_root, open_folder
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


@pytest.mark.posix
def test_a_folder_that_may_not_be_entered_is_named_once_with_its_owner_and_the_other_one_looked_into():
    with open_folder() as home:
        config = home / "config"
        state = home / "state"
        paths = Paths(config_dir=config, cache_dir=config, state_dir=state)
        for folder in (config, paths.editor_dir):
            folder.mkdir(parents=True)
            folder.chmod(0o755)
        state.chmod(0o755)
        (state / "unsaved-1.json").touch()
        for closed in (state, paths.editor_dir):
            closed.chmod(0o000)
            with no_root():
                sentence, *others = left_files(paths)
            closed.chmod(0o755)
            owner = closed.owner()
            assert sentence.startswith(
                f"{closed} cannot be entered: it belongs to {owner}, with mode 0000. Check "
            )
            assert [f"{state}/unsaved-1.json" in other for other in others] == (
                [] if closed == state else [True]
            )
        home.chmod(0o000)  # with the configuration, whose reader says so
        with no_root():
            assert left_files(paths) == []
        home.chmod(0o755)
