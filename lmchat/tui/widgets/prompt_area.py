"""Prompt area: the widgets below the log, from top to bottom.

The pill says that lines are new below the screen. Below it are a card for each queued prompt, the
list of commands or files, and a card with the prompt and its status line. Above the prompt, this
card may have a note about what Enter does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.reactive import reactive
from textual.widget import Widget

from lmchat.safe_text import safe_line
from lmchat.tui.messages import AppMessage
from lmchat.tui.widgets.completion_list import Completion, CompletionList
from lmchat.tui.widgets.folded_blocks import FoldedBlocks
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, StyledText, content, fit, styled
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.row_list import RowList
from lmchat.units import SIGNS


class Pill(Widget):
    """`↓ new text  End` at the right, or `↓ more below`; empty at the end of the log."""

    class Pressed(AppMessage):
        """Request to scroll the log to its end."""

    words: reactive[str] = reactive("")
    """Words for what is below the screen; empty while the log is at its end."""

    def render(self) -> Content:
        if not self.words:
            return Content("")
        text = content(
            ((f"{SIGNS.down_arrow} {self.words}", "$primary"), ("  ", ""), ("End", STRONG))
        )
        return Content(" " * max(self.content_size.width - text.cell_length, 0)) + text

    def on_click(self) -> None:
        if self.words:
            self.post_message(self.Pressed())


class QueueCards(Widget):
    """A row for each queued prompt: `next  Which herbs go with them?   ↑ edit  Del remove`."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: Sequence[str] = ()

    def show(self, texts: Sequence[str]) -> None:
        """Show queued prompts, oldest first; the keys of the prompt act on the last one."""
        # nothing shown here is unfolded again, so these `FoldedBlocks` are not kept
        self._texts = [safe_line(FoldedBlocks().fold_files(text)) for text in texts]
        self.display = bool(texts)
        self.styles.height = len(texts)
        self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        bold = f"bold {MUTED}"
        hint = content(
            ((SIGNS.up_arrow, bold), (" edit  ", MUTED), ("Del", bold), (" remove", MUTED))
        )
        newest = len(self._texts) - 1
        rows = [
            fit(
                [content((("next  ", MUTED), (text, "")))],
                hint if number == newest else Content(""),
                width,
            )
            for number, text in enumerate(self._texts)
        ]
        return Content("\n").join(rows)


class PromptStatus(Widget):
    """Status line, as `● qwen3-8b · LM Studio     ~24 tok · 41 %`.

    A narrow screen has no telemetry panel, so there the line may have other figures.
    """

    is_shell: reactive[bool] = reactive(False)
    """Whether the prompt is in the shell mode: the line then says so."""
    _state: reactive[tuple[StyledText, tuple[str, ...], str, str]] = reactive(
        (("", ""), (), "", "")
    )
    """The arguments of `show_state`."""

    def show_state(
        self, sign: StyledText, names: Sequence[str], figures: str, narrow_figures: str = ""
    ) -> None:
        """Show the sign of the server's state, the names of model and server, and figures.

        On a narrow screen, `narrow_figures` replace `figures`, unless they are empty.
        """
        # reactive: a change redraws the line
        self._state = (sign, tuple(names), figures, narrow_figures or figures)

    def render(self) -> Content:
        """Return sign, model and server at the left, and at the right the figures for the width."""
        width = self.content_size.width
        if self.is_shell:
            mode = content((("! shell command", "$warning"), ("  Enter runs it", MUTED)))
            return fit([mode], Content(""), width)
        sign, names, figures, narrow_figures = self._state
        # `fit` drops whole pieces from the end: sign and model stay longest
        pieces = [content((sign, (" ", ""), (names[0] if names else "", MUTED)))]
        pieces += [styled(f" {SIGNS.dot} {name}", MUTED) for name in names[1:]]
        if self.screen.has_class("-narrow"):
            figures = narrow_figures
        return fit(pieces, styled(figures, MUTED), width)


class PromptArea(Vertical):
    """Container of the prompt's widgets; it shows mode and completion of `PromptInput`."""

    input = query_one(PromptInput)
    status = query_one(PromptStatus)
    pill = query_one(Pill)
    queue = query_one(QueueCards)
    note = query_one("#prompt-note", LineWidget)
    own_keys: Mapping[str, str] = {}  # the user's keys as people write them, by command id

    def compose(self) -> ComposeResult:
        yield Pill()
        yield QueueCards()
        with Vertical(id="prompt-card"):
            yield LineWidget(id="prompt-note")
            yield PromptInput()
            yield PromptStatus()

    def on_mount(self) -> None:
        self.watch(self.input, "is_shell", self._show_mode, init=False)
        self.watch(self.input, "completion", self._show_completion, init=False)

    def _show_mode(self, is_shell: bool) -> None:
        self.query_one("#prompt-card").set_class(is_shell, "-shell")
        self.status.is_shell = is_shell

    def show_note(self, text: str, hint: str) -> None:
        """Show a text above the prompt, cut where room is short, and a hint at the right.

        Without a text, hide the note.
        """
        self.note.display = bool(text)
        self.note.show([styled(text, MUTED)], styled(hint, MUTED))

    def show_queue(self, texts: Sequence[str]) -> None:
        """Show queued prompts above the prompt, oldest first."""
        self.input.has_queue = bool(texts)
        self.queue.show(texts)

    async def _show_completion(self, completion: Completion) -> None:
        """Show the rows of a completion above the prompt, in a list that is made when needed."""
        if completion.rows and not self.query(CompletionList):
            await self.mount(CompletionList(self.own_keys), before="#prompt-card")
        # one list, or none before the first completion
        for completion_list in self.query(CompletionList):
            completion_list.show_completion(completion)

    @on(RowList.Clicked)
    def choose_clicked(self, event: RowList.Clicked) -> None:
        """Insert the command or file that was clicked in the list above the prompt."""
        event.stop()
        self.input.choose(event.key)
        self.input.focus()
