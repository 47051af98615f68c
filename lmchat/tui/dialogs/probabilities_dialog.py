"""Dialog with the words of an answer, how sure the model was of each, and the alternatives.

A word is a token of the model here. A choice is such a word with its probability and with the
likeliest other tokens in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from msgspec import Struct
from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from lmchat import units
from lmchat.safe_text import SafeText, on_one_line
from lmchat.services.choosing import AnswerChoices
from lmchat.sessions.message import HALF_CHARACTER, Alternative, TokenProbabilities, probability
from lmchat.tui.dialogs.dialog import Dialog
from lmchat.tui.dialogs.probabilities_text import ChoicesText, ShownWord, shown_text
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList

_UNSURE = 0.5
"""Below this probability, a word is underlined; Tab goes to the next one."""
_GUESSED = 0.2  # below this probability, a word is in reverse
_LEAST_SHOWN = 0.005  # a lower probability would be shown as 0 %
_TALL = 30  # rows of a screen with room for more alternatives
_ROWS_WHEN_TALL = 8
_ROWS_WHEN_SHORT = 5


class TakenWord(Struct, frozen=True):
    """A token that the user wants in the place of another one."""

    index: int  # of the other one, among the choices of the answer
    token: str


class ChoicesDialog(Dialog[TakenWord | None]):
    """Text with marked words, and the alternatives to one of them; returns the one to take."""

    AUTO_FOCUS = ""
    GROWS = "ChoicesText"
    HEADING = "Probabilities"
    HINTS = (
        ("← →", "word"),
        ("↑ ↓", "alternative"),
        ("Enter", "continue with it"),
        ("Tab", "unsure"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        ("left", "move(-1)"),
        ("right", "move(1)"),
        ("home", "move(-1_000_000)"),
        ("end", "move(1_000_000)"),
        ("tab", "next_unsure(1)"),
        ("shift+tab", "next_unsure(-1)"),
        ("up", "move_alternative(-1)"),
        ("down", "move_alternative(1)"),
        ("enter", "take"),
    ]

    def __init__(self, answer: AnswerChoices) -> None:
        super().__init__()
        self._answer = answer
        self._choices = answer.choices

    def compose_content(self) -> Iterable[Widget]:
        yield ChoicesText()
        yield LineWidget(id="chosen-word")
        yield RowList()

    def on_mount(self) -> None:
        self._list.set_focused(is_focused=True)
        self._text.show(_words_of(self._answer))

    def on_resize(self) -> None:
        self.call_after_refresh(self._use_room)

    @property
    def _text(self) -> ChoicesText:
        return self.query_one(ChoicesText)

    @property
    def _list(self) -> RowList:
        return self.query_one(RowList)

    def _use_room(self) -> None:
        """Give the alternatives a fixed number of rows, and the text the rows that are left."""
        if not self.can_show:
            return
        most_rows = _ROWS_WHEN_TALL if self.size.height >= _TALL else _ROWS_WHEN_SHORT
        most_alternatives = max(len(choice.top) for choice in self._choices)
        # one more: the token of the answer may be none of the likeliest
        self._list.styles.height = min(most_rows, most_alternatives + 1)
        unsure = sum(_is_unsure(choice) for choice in self._choices)
        counted = units.counted(len(self._choices), "word")
        self.show_title(f"{counted}, {unsure} of them below {units.percent(_UNSURE)}")
        self._show_word()

    def _show_word(self) -> None:
        """Show the word under the cursor, its probability, and its alternatives."""
        index = self._text.cursor
        choice = self._choices[index]
        shown = ((_quoted(choice.token), STRONG), (f"  {_percent(choice.logprob)}", ""))
        kind = "thought, " if choice.is_thought else ""
        number = units.tokens(index + 1)
        place = f"{kind}word {number} of {units.tokens(len(self._choices))}"
        line = self.query_one("#chosen-word", LineWidget)
        line.show([content(shown)], styled(place, MUTED))
        rows = [_row(other, choice) for other in _alternatives(choice)]
        self._list.show(rows, choose=choice.token)

    def action_move(self, step: int) -> None:
        """Move the cursor by some words, at most to the first or the last one."""
        self._go_to(min(max(self._text.cursor + step, 0), len(self._choices) - 1))

    def action_next_unsure(self, step: int) -> None:
        """Move the cursor to the next word of which the model was unsure, or the one before."""
        indexes = range(self._text.cursor + step, len(self._choices) if step > 0 else -1, step)
        for index in indexes:
            if _is_unsure(self._choices[index]):
                self._go_to(index)
                return

    def _go_to(self, index: int) -> None:
        self._text.move_to(index)
        self._show_word()

    def action_move_alternative(self, step: int) -> None:
        self._list.move(step)

    @on(RowList.Taken)
    def action_take(self) -> None:
        if self._list.key is not None:
            self.dismiss(TakenWord(self._text.cursor, str(self._list.key)))


def _words_of(answer: AnswerChoices) -> list[ShownWord]:
    """Return the thought and the text of an answer as words, with marks where it was unsure.

    Text before and behind the choices, of which no probabilities are known, is muted. It is left
    out where the place of the choices in the text is not known.
    """
    words: list[ShownWord] = []
    parts = (
        (answer.answer.reasoning, answer.thought_start, True),
        (answer.answer.text, answer.text_start, False),
    )
    for whole, start, is_thought in parts:
        if words and whole:
            words.append(ShownWord("\n\n"))
        words += _unknown_words(whole[:start] if start else "")
        end = start or 0
        for index, choice in enumerate(answer.choices):
            if choice.is_thought != is_thought:
                continue
            end += len(choice.text)
            # the text is empty if it came with a later token, as that of a half character does
            word = shown_text(choice.text or choice.token)
            words.append(ShownWord(word, _style(choice), index))
        words += _unknown_words("" if start is None else whole[end:])
    return words


def _unknown_words(text: str) -> list[ShownWord]:
    """Return the words of a text without known probabilities, each with the blank before it."""
    pieces = re.findall(r" [^ ]*|[^ ]+", text)
    return [ShownWord(shown_text(piece), MUTED) for piece in pieces]


def _style(choice: TokenProbabilities) -> str:
    """Return how a word is marked, by its probability."""
    chance = probability(choice.logprob)
    marks = [MUTED] if choice.is_thought else []
    if chance < _GUESSED:
        marks.append("reverse")
    elif chance < _UNSURE:
        marks.append("underline")
    return " ".join(marks)


def _is_unsure(choice: TokenProbabilities) -> bool:
    return probability(choice.logprob) < _UNSURE


def _alternatives(choice: TokenProbabilities) -> list[Alternative]:
    """Return what could be chosen, the likeliest first; the token of the answer is among it.

    Parts of characters, which cannot be sent, are left out.
    """
    chosen = Alternative(token=choice.token, logprob=choice.logprob)
    others = [
        other
        for other in choice.top
        if other.token != choice.token and HALF_CHARACTER not in other.token
    ]
    return sorted([chosen, *others], key=lambda other: -other.logprob)


def _row(other: Alternative, choice: TokenProbabilities) -> ListRow:
    note = "in the answer  " if other.token == choice.token else ""
    return ListRow(
        (((f" {_quoted(other.token)}", NAME),),),
        ((note, MUTED), (_percent(other.logprob), "")),
        key=other.token,
    )


def _percent(logprob: float) -> str:
    chance = probability(logprob)
    return f"< {units.percent(0.01)}" if chance < _LEAST_SHOWN else units.percent(chance)


def _quoted(token: str) -> SafeText:
    """Return a token in quotation marks, on one line: its blanks, tabs and line breaks are seen."""
    visible = token.replace("\n", "\\n").replace("\t", "\\t")
    return on_one_line(f'"{visible}"')
