"""Dialog with the words of an answer, how sure the model was of each, and the alternatives.

A word is a token here. Its index counts the words of the answer, those of the thought included.
Probabilities are from 0 to 1; `logprob` is the natural logarithm of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import BindingType
from textual.content import Content, Span
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from lmchat.app.tui.dialogs.dialog import ListDialog
from lmchat.app.tui.widgets.key_bar import Hint
from lmchat.app.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled
from lmchat.app.tui.widgets.row_list import NAME, ListRow, RowList
from lmchat.base import units
from lmchat.base.safe_text import SafeText, on_one_line, safe_text
from lmchat.base.units import GAP, SIGNS
from lmchat.core.sessions.tokens import (
    HALF_CHARACTER,
    AnswerTokens,
    TokenProbabilities,
    probability,
)

_UNSURE = 0.5
"""Probability below which a word is underlined; Tab goes to the next such word."""
_GUESSED = 0.2  # below it, a word is in reverse
_LEAST_SHOWN = 0.005  # a lower one would be shown as 0 %
_CURSOR = "bold reverse $primary"


class WordsText(ScrollView):
    """Text in which one word after the other can be chosen; a bar marks its line.

    Only the lines in view are painted.
    """

    DEFAULT_CLASSES: ClassVar[str] = "gap"

    def __init__(self, text: Content) -> None:
        """Spans of `text` with a `word` in their meta are the words."""
        super().__init__()
        self.can_focus = False
        self.cursor = 0  # index of the word under the cursor
        self._text = text
        self._lines: list[Content] = []
        self._line_of_word: dict[int, int] = {}  # in which a word ends

    def move_to(self, index: int) -> None:
        self.cursor = index
        self.refresh()
        line = self._line_of_word.get(index, 0)  # 0 also before the text is wrapped
        self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)

    def on_resize(self) -> None:
        width = max(self.outer_size.width - 2, 1)  # without bar and scrollbar
        self._lines = self._text.wrap(width)
        # a word that spans several lines gets the last one
        self._line_of_word = {
            _word_of(span): number for number, line in enumerate(self._lines) for span in line.spans
        }
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.move_to(self.cursor)

    def render_line(self, y: int) -> Strip:
        """Draw blank strips below the text."""
        base = self.visual_style
        number = y + self.scroll_offset.y
        line = self._lines[number] if number < len(self._lines) else Content()
        bar = Content(" ")
        for span in line.spans:
            if _word_of(span) == self.cursor:
                line = line.stylize(_CURSOR, span.start, span.end)
                bar = styled(SIGNS.bar, "$primary")
        strip = Strip((bar + line).render_segments(base))
        return strip.adjust_cell_length(self.outer_size.width, base.rich_style)


def _word_of(span: Span) -> int:
    """Return the word of a span; -1, which no cursor has, for other spans."""
    return span.style.meta.get("word", -1) if isinstance(span.style, Style) else -1


class ProbabilitiesDialog(ListDialog):
    """Marked words, and the alternatives to one.

    Returns the index of a word, and the token that the user wants in its place.
    """

    GROWS = "WordsText"
    HEADING = "Probabilities"
    HINTS = (
        ("← →", "word"),
        ("↑ ↓", "alternative"),
        ("Enter", "continue with it"),
        ("Tab", "unsure"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        ("left", "move_word(-1)"),
        ("right", "move_word(1)"),
        ("home", "move_word(-1_000_000)"),
        ("end", "move_word(1_000_000)"),
        ("tab", "next_unsure(1)"),
        ("shift+tab", "next_unsure(-1)"),
    ]

    def __init__(self, answer: AnswerTokens) -> None:
        super().__init__()
        self._words = answer.tokens
        self._text = WordsText(_marked_text(answer))

    def compose_content(self) -> Iterable[Widget]:
        yield self._text
        yield LineWidget(id="chosen-word")
        yield RowList()

    def draw(self) -> None:
        """Show the word under the cursor, its probability, and its alternatives."""
        index = self._text.cursor
        word = self._words[index]
        shown = ((_quoted(word.token), STRONG), (f"  {_percent(word.logprob)}", ""))
        position = f"word {units.whole_number(index + 1)} of {units.whole_number(len(self._words))}"
        line = self.query_one("#chosen-word", LineWidget)
        line.show([content(shown)], styled(position, MUTED))
        unsure_count = sum(map(_is_unsure, self._words))
        text = units.counted(len(self._words), "word")
        self.show_rows(
            _alternatives(word),
            f"{text}, {unsure_count} of them below {units.percent(_UNSURE)}",
            choose=word.token,
        )

    def hints_now(self) -> Sequence[Hint]:
        return self.HINTS if any(map(_is_unsure, self._words)) else self.HINTS[:-1]

    def action_move_word(self, step: int) -> None:
        """Move the cursor by `step` words; it stops at both ends."""
        self._text.move_to(min(max(self._text.cursor + step, 0), len(self._words) - 1))
        self.draw()

    def action_next_unsure(self, step: int) -> None:
        """Move to the next word of which the model was unsure (`step` 1), or back (-1).

        Without one, the cursor stays.
        """
        end = len(self._words) if step > 0 else -1
        for index in range(self._text.cursor + step, end, step):
            if _is_unsure(self._words[index]):
                self._text.move_to(index)
                self.draw()
                return

    def action_accept(self) -> None:
        self.dismiss((self._text.cursor, str(self.list.key)))


def _marked_text(answer: AnswerTokens) -> Content:
    """Mark where the model was unsure, in thought and text.

    Text before and behind the words has no probabilities and is muted. If their place in the text
    is unknown, only the words are shown.
    """
    message = answer.answer
    thought = _marked_part(answer, message.reasoning, answer.thought_start, is_thought=True)
    text = _marked_part(answer, message.text, answer.text_start, is_thought=False)
    return Content("\n\n").join([part for part in (thought, text) if part])


def _marked_part(
    answer: AnswerTokens, whole: str, start: int | None, *, is_thought: bool
) -> Content:
    """`whole` is a thought or text, in which the words start at the character `start`."""
    indexed = enumerate(answer.tokens)
    words = [(index, word) for index, word in indexed if word.is_thought == is_thought]
    marked = Content("").join([_marked_word(index, word) for index, word in words])
    if start is None:
        return marked
    end = start + sum(len(word.text) for _, word in words)
    before, behind = safe_text(whole[:start]), safe_text(whole[end:])
    return Content.styled(before, MUTED) + marked + Content.styled(behind, MUTED)


def _marked_word(index: int, word: TokenProbabilities) -> Content:
    """The first span has the mark, the second the index by which `WordsText` finds the word."""
    # half a character is "": it came with a later token
    text = safe_text(word.text or word.token).replace("\t", "    ")
    text = text.replace("\n", " \n")  # the cursor is seen on the blank
    if not cell_len(text[:1]):  # an accent would be drawn on the word before
        text = GAP + text
    mark = "underline" if _is_unsure(word) else ""
    if probability(word.logprob) < _GUESSED:
        mark = "reverse"
    style = f"{MUTED if word.is_thought else ''} {mark}"
    meta = Style.from_meta({"word": index})
    return Content(text, [Span(0, len(text), style), Span(0, len(text), meta)])


def _is_unsure(word: TokenProbabilities) -> bool:
    return probability(word.logprob) < _UNSURE


def _alternatives(word: TokenProbabilities) -> list[ListRow]:
    """Return a row for each token that can be chosen, the answer's included; likeliest first.

    Others that are parts of characters are left out: they cannot be sent.
    """
    logprobs = {other.token: other.logprob for other in word.top}
    logprobs[word.token] = word.logprob  # it may be too unlikely for `top`
    rows: list[ListRow] = []
    for token in sorted(logprobs, key=lambda token: -logprobs[token]):
        is_in_answer = token == word.token
        if HALF_CHARACTER in token and not is_in_answer:
            continue
        note = "in the answer  " if is_in_answer else ""
        name = (f" {_quoted(token)}", NAME)
        right = ((note, MUTED), (_percent(logprobs[token]), ""))
        rows.append(ListRow(pieces=((name,),), right=right, key=token))
    return rows


def _percent(logprob: float) -> str:
    """Show a very low probability as `< 1 %`."""
    chance = probability(logprob)
    return f"< {units.percent(0.01)}" if chance < _LEAST_SHOWN else units.percent(chance)


def _quoted(token: str) -> SafeText:
    """Quote it on one line: its blanks, tabs and line breaks are seen."""
    visible = token.replace("\n", "\\n").replace("\t", "\\t")
    return on_one_line(f'"{visible}"')
