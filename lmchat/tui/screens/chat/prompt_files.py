"""Files that are attached to the prompt: those that are named, typed or pasted as paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lmchat.domain.attached_files import split_draft
from lmchat.files import expanded_path
from lmchat.services.attachments import DraftFiles, files_outside
from lmchat.services.file_finder import named_files
from lmchat.text import safe_line
from lmchat.threads import run_abandonable
from lmchat.tui.screens.chat.notices import CANNOT_SEE, Notices
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.widgets.prompt import Prompt


class PromptFiles:
    """Attaches files to the prompt."""

    def __init__(
        self, draft_files: DraftFiles, prompt: Prompt, notices: Notices, prompt_text: PromptText
    ) -> None:
        self._draft_files = draft_files
        self._prompt = prompt
        self._notices = notices
        self._prompt_text = prompt_text

    async def attach(self, typed: str, path: str) -> None:
        """Put the file at a path into the prompt, else those that a pasted text names, if any."""
        names: Sequence[object] = await run_abandonable(partial(named_files, path or typed))
        if not names and path:
            names = (path,)
        paths = [expanded_path(str(name)) for name in names]
        if not await self._may_read(paths):
            return
        files = [await self._draft_files.attach(found) for found in paths]
        if files:
            shown_name = safe_line(Path(path).name) if typed and path else ""
            self._prompt.input.attach(typed, files, shown_name)
        if self._prompt_text.has_unseen_image and any(split_draft(file)[1] for file in files):
            self._notices.notify(CANNOT_SEE)

    async def _may_read(self, paths: Sequence[Path]) -> bool:
        """Ask about files outside the working folder: a pasted path alone must not read them."""
        from lmchat.tui.screens.ask_dialog import OutsideDialog

        outside = await files_outside(paths, Path.cwd())
        return not outside or bool(await self._notices.ask(OutsideDialog(outside)))
