from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.options import ParsedOptions
from lmchat.terminal.output import Output


def test_profiles_and_presets_that_are_added_while_the_chat_runs_are_used(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[profiles.old]\n")
    context = Context(ParsedOptions(), {"LMCHAT_HOME": str(tmp_path)}, Output())
    assert list(context.settings.profiles) == ["old"]
    # before anything has asked for them
    file.write_text("[profiles.new]\n[prompts.french]\ntext = 'French'\n")
    assert list(context.named.profiles()) == ["new"]
    assert list(context.named.presets()) == ["french"]
