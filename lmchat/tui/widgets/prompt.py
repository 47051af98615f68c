"""The foot of the chat: the pill's row, the queue, the list of commands, and the prompt on its card."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one

from lmchat.tui.widgets.pill import Pill
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.prompt_status import PromptStatus
from lmchat.tui.widgets.queue_card import QueueCard
from lmchat.tui.widgets.row_list import RowList


class Prompt(Vertical):
    """Puts them together; the facts are those of its parts."""

    input = query_one(PromptInput)
    """Where one types; it gets the focus."""
    status = query_one(PromptStatus)
    """The row under the text."""
    pill = query_one(Pill)
    """The row above all."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Pill()
        with Vertical(id="prompt-card"):
            yield PromptInput(id="prompt")
            yield PromptStatus()

    async def show_queue(self, entries: Sequence[tuple[str, bool]]) -> None:
        """Show what waits: texts, each with whether it is held back after a failure."""
        cards = list(self.query(QueueCard))
        had_focus = any(card.has_focus for card in cards)
        for card, (text, is_held) in zip(cards, entries, strict=False):
            card.show_entry(text, is_held=is_held)
        added = [
            QueueCard(at, text, is_held=is_held)
            for at, (text, is_held) in enumerate(entries)
            if at >= len(cards)
        ]
        surplus = cards[len(entries) :]
        self.input.has_queue = bool(entries)
        if added and not self.query("#queue"):
            await self.mount(Vertical(id="queue"), after=self.pill)
        for queue in self.query("#queue"):
            await queue.remove_children(surplus)
            await queue.mount_all(added)
        if had_focus and not any(card.has_focus for card in cards[: len(entries)]):
            (cards[len(entries) - 1] if entries else self.input).focus()

    @on(PromptInput.CompletionChanged)
    async def show_commands(self, event: PromptInput.CompletionChanged) -> None:
        """Show the commands that fit; their list is made when it is first wanted."""
        from lmchat.tui.widgets.slash_list import SlashList

        event.stop()
        if event.completion.is_open and not self.query(SlashList):
            await self.mount(SlashList(), before="#prompt-card")
        for rows in self.query(SlashList):
            rows.show_completion(event.completion)

    @on(PromptInput.EndPressed)
    def press_pill(self, event: PromptInput.EndPressed) -> None:
        """End in an empty prompt is the pill's key."""
        event.stop()
        self.post_message(Pill.Pressed())

    @on(PromptInput.QueueAsked)
    def act_on_queue(self, event: PromptInput.QueueAsked) -> None:
        """Let the newest card do what its hint says."""
        event.stop()
        newest = len(self.query(QueueCard)) - 1
        if newest >= 0:  # posted from here: Textual ends the way up of a message at the parent that sent it
            self.post_message(QueueCard.Edit(newest) if event.what == "edit" else QueueCard.Remove(newest))

    @on(RowList.Taken)
    def take_command(self, event: RowList.Taken) -> None:
        """Complete the command that was clicked."""
        event.stop()
        self.input.choose(event.rows.keys.index(event.key))
        self.input.focus()
