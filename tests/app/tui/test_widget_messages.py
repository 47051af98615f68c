from __future__ import annotations

from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.core.sessions.prompts import PendingPrompt


def test_a_text_is_not_in_the_words_of_its_message():
    prompt = PendingPrompt(draft="secret")
    assert "secret" not in repr(PromptInput.Submitted(prompt))
    assert "secret" not in repr(PromptInput.CommandEntered("/title secret", prompt))
