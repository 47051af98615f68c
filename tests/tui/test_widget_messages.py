from __future__ import annotations

from lmchat.tui.widgets.prompt_input import PromptInput


def test_a_text_is_not_in_the_words_of_its_message():
    assert "secret" not in repr(PromptInput.Submitted("secret"))
