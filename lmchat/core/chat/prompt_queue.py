"""Prompts of a session that wait to be sent."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from lmchat.core.sessions.prompts import PendingPrompt


class QueueChanged(Struct, frozen=True):
    pass


class PromptsReturned(Struct, frozen=True, kw_only=True):
    """Unsent prompts, which go back to the beginning of their session's draft."""

    prompts: tuple[PendingPrompt, ...]


# None: there is nothing that the front end is to show
OnQueueChange = Callable[[QueueChanged | PromptsReturned | None], None]


class PromptQueue(Struct, eq=False):
    """Prompts that wait for the end of the turn, a server, a model or files, oldest first."""

    _on_change: OnQueueChange
    prompts: tuple[PendingPrompt, ...] = ()

    @property
    def drafts(self) -> tuple[str, ...]:
        return tuple(prompt.draft for prompt in self.prompts)

    @property
    def has_prompt_to_send(self) -> bool:
        return bool(self.prompts) and not self.prompts[0].files

    def add(self, prompt: PendingPrompt) -> None:
        """It is not sent while it lacks files."""
        self._change((*self.prompts, prompt))

    def add_first(self, prompt: PendingPrompt) -> None:
        self._change((prompt, *self.prompts))

    def take_first(self) -> PendingPrompt:
        first, *others = self.prompts
        self._change(tuple(others))
        return first

    def take_last(self) -> PendingPrompt:
        *others, last = self.prompts
        self._change(tuple(others))
        return last

    def follow(self, prompt: PendingPrompt) -> None:
        """Show that files of a queued prompt have come; return it if one could not be read."""
        if prompt.has_failed:
            self.return_from(prompt)
        else:
            self._change(self.prompts)

    def return_from(self, prompt: PendingPrompt) -> None:
        """Return this prompt and all behind it."""
        index = self.prompts.index(prompt)
        returned = self.prompts[index:]
        self.prompts = self.prompts[:index]
        self._on_change(PromptsReturned(prompts=returned))

    def return_all(self, *pending: PendingPrompt) -> None:
        """Return these, then all queued prompts, to the draft of the front end."""
        returned = (*pending, *self.prompts)
        self.prompts = ()
        self._on_change(PromptsReturned(prompts=returned) if returned else None)

    def move_to(self, other: PromptQueue) -> None:
        """Append all to another one; the caller shows both."""
        other.prompts += self.prompts
        self.prompts = ()
        self._on_change(None)

    def _change(self, prompts: tuple[PendingPrompt, ...]) -> None:
        self.prompts = prompts
        self._on_change(QueueChanged())
