from __future__ import annotations

from lmchat.tui.messages import Post
from lmchat.tui.widgets.prompt_input import PromptInput


class Base(Post):
    first: int


class Further(Base):
    second: str = "two"


def test_what_is_declared_is_given_by_place_or_by_name():
    given = Further(1, second="2")
    assert (given.first, given.second) == (1, "2")


def test_a_kind_of_message_has_the_attributes_of_the_kind_above_it():
    assert (Further(1).first, Further(1).second) == (1, "two")
    assert Further(1, "b").second == "b"


def test_a_text_is_not_in_the_words_of_its_message():
    assert "secret" not in repr(PromptInput.Submitted("secret"))


def test_textual_takes_it_for_a_message_of_its_widget():
    assert PromptInput.Submitted("x").handler_name == "on_prompt_input_submitted"
