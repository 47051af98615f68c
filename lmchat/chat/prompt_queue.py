"""Prompts of a session that wait to be sent."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


class QueueChanged(Struct, frozen=True):
    """Change of the queue."""


class PromptsReturned(Struct, frozen=True, kw_only=True):
    """Unsent prompts, which go back to the beginning of their session's draft."""

    prompts: tuple[str, ...]


# None: there is nothing that the front end is to show
OnQueueChange = Callable[[QueueChanged | PromptsReturned | None], None]


class Queued(Struct, eq=False):
    """A queued prompt, which only its queue changes; two are never equal."""

    draft: str
    needs_files: bool = False  # they are being read
    is_dropped: bool = False  # the user removed the prompt


class PromptQueue:
    """Prompts that wait for the end of the turn, a server, a model or files, oldest first."""

    def __init__(self, on_change: OnQueueChange) -> None:
        self._on_change = on_change
        self.prompts: tuple[Queued, ...] = ()

    @property
    def drafts(self) -> tuple[str, ...]:
        return tuple(queued.draft for queued in self.prompts)

    @property
    def needs_files(self) -> bool:
        return any(queued.needs_files for queued in self.prompts)

    @property
    def has_prompt_to_send(self) -> bool:
        return bool(self.prompts) and not self.prompts[0].needs_files

    def add(self, draft: str, *, needs_files: bool = False) -> Queued:
        """With `needs_files`, it is not sent before `end_reading`."""
        queued = Queued(draft, needs_files=needs_files)
        self._change((*self.prompts, queued))
        return queued

    def add_first(self, draft: str) -> None:
        self._change((Queued(draft), *self.prompts))

    def change_draft(self, queued: Queued, draft: str) -> None:
        queued.draft = draft
        self._on_change(QueueChanged())

    def end_reading(self, queued: Queued) -> None:
        """Let the prompt be sent once it is the first."""
        queued.needs_files = False

    def take_first(self) -> str:
        first, *others = self.prompts
        self._change(tuple(others))
        return first.draft

    def take_last(self, *, is_dropped: bool = False) -> str:
        """With `is_dropped`, its files are no longer wanted."""
        *others, last = self.prompts
        last.is_dropped = is_dropped
        self._change(tuple(others))
        return last.draft

    def return_from_reading(self) -> bool:
        """Return the first prompt that needs files, and all behind it; return False without one."""
        if not self.needs_files:
            return False
        index = [queued.needs_files for queued in self.prompts].index(True)
        returned = self.drafts[index:]
        self.prompts = self.prompts[:index]
        self._on_change(PromptsReturned(prompts=returned))
        return True

    def return_all(self, *pending: str) -> None:
        """Return these, then all queued prompts, to the draft of the front end."""
        returned = (*pending, *self.drafts)
        self.prompts = ()
        self._on_change(PromptsReturned(prompts=returned) if returned else None)

    def move_to(self, other: PromptQueue) -> None:
        """Append all to another one; the caller shows both."""
        other.prompts += self.prompts
        self.prompts = ()
        self._on_change(None)

    def _change(self, prompts: tuple[Queued, ...]) -> None:
        self.prompts = prompts
        self._on_change(QueueChanged())
