"""Text of the prompt: drafts, earlier prompts, an edit.

The draft of a session is what is typed there. While an earlier prompt or answer is edited, the
input has the text of that one. Then the draft starts with `_before_edit`, which comes back after
the edit; the text of the input follows, if it is no longer `_unedited`, with which the edit
started.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from msgspec import Struct

from lmchat.app.terminal.programs import Editor
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.placeholders import Placeholders
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.core.chat.session import OpenSession
from lmchat.core.sessions.message import ChatMessage, Role
from lmchat.core.sessions.prompts import (
    PendingFiles,
    PendingPrompt,
    Prompt,
    joined_paragraphs,
    without_file_lines,
)


class _InEditor(Struct):
    """The prompt in the user's editor."""

    editor: Editor
    before: str  # what the text of the editor replaces
    files: Placeholders  # their lines in it


class PromptText:
    """Changes and saves the text of the prompt, in which an attached file is a line with a mark."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._workspace = ui.workspace
        self._chat = ui.workspace.chat
        self._drafts = self._chat.drafts
        self.is_rewriting = False  # the message that is being edited is an answer
        self._before_edit = ""  # what was typed before
        self._aside = PendingPrompt()  # the prompt with that text
        self._left = defaultdict[str, PendingPrompt](PendingPrompt)
        """Prompts whose texts are drafts of sessions that are not shown, by the ids of these."""
        self._unedited = ""  # the text with which the edit started
        self._restored = ""  # a draft of earlier runs that only ↑ shows, until it is used
        self._editing: _InEditor | None = None  # what the user's editor has

    @property
    def _input(self) -> PromptInput:
        return self._ui.widgets.prompt_input

    @property
    def edited_id(self) -> str:
        return self._input.prompt.edited_id

    @property
    def typed_prompt(self) -> str:
        """The text of the next prompt; "" for a command, and while a message is edited."""
        return "" if self.edited_id or self._input.typed_command else self._input.full_text

    @property
    def has_unseen_image(self) -> bool:
        """Whether an image is attached that the current model cannot see."""
        target = self._chat.turn_options.target
        files = Prompt.of(self._input.full_text).files
        return target is not None and target.is_blind and any(part.is_image for part in files)

    def show_draft(self, left_id: str = "") -> None:
        """Show the draft of the active session.

        What was typed before is the draft of the session `left_id`; without one, it comes along.
        """
        self._restored = ""  # the draft has it
        session_id = self._chat.active.session_id
        if left_id:
            self._left[left_id] = self._input.prompt
            self._input.prompt = self._left.pop(session_id, PendingPrompt())
        self._input.show_draft(self._drafts.text(session_id))

    async def load_history(self) -> None:
        """Read what earlier runs have left: prompts, which ↑ brings back, and drafts.

        Drafts of no saved session are shown if the session is new and nothing is typed; else ↑
        brings them back, too.
        """
        # lmchat's prompt for a summary was not typed
        compact_prompt = self._chat.turn_options.compact_prompt
        # newest first
        earlier = [
            prompt
            for prompt in await self._workspace.store.prompt_history()
            if prompt != compact_prompt
        ]
        session_id = self._chat.open_sessions.new_session.session_id
        draft = await self._drafts.restore()
        is_new = not (self._chat.active.messages or self._workspace.resume_id)
        if draft and is_new and not self._input.text:
            self._input.show_draft(draft)
        elif draft:
            earlier.insert(0, draft)
            if session_id == self._chat.active.session_id:
                self._restored = draft
        self._input.earlier.remember_older(earlier)

    def remember(self, prompt: str) -> None:
        """Let ↑ bring back a prompt that is sent, or a command that is run."""
        self._input.earlier.remember_newest(prompt)

    def keep_draft(self, *, sent: str = "") -> None:
        """Keep what is typed as the draft of the active session.

        It starts with a draft of earlier runs, until that is a part of what is typed or `sent`.
        """
        draft = joined_paragraphs(self._before_edit, self._changed_text)
        if self._restored:
            has_restored = self._restored in draft
            if self._restored.strip() in sent or (has_restored and not self._input.is_recalled):
                self._restored = ""
            elif not has_restored:
                draft = joined_paragraphs(self._restored, draft)
        self._drafts.change(self._chat.active.session_id, draft)

    @property
    def _changed_text(self) -> str:
        """Return "" for the text with which an edit started."""
        text = self._input.full_text
        return "" if text == self._unedited else text

    # Edits

    def start_edit(self, message: ChatMessage) -> None:
        """Put an earlier prompt with its files, or an answer, into the input.

        Enter then sends or saves it as another version. What was typed before comes back when the
        edit ends, and so does the changed text of an edit that this one replaces.
        """
        self._before_edit = joined_paragraphs(self._before_edit, self._changed_text)
        if not self.edited_id:
            self._aside = self._input.prompt
        self._input.prompt = PendingPrompt(edited_id=message.message_id)
        self.is_rewriting = message.role is Role.ASSISTANT
        self._input.put(Prompt(message.text, message.files).draft)
        self._unedited = self._input.full_text
        self._input.focus()
        self._ui.show_action("rewriting" if self.is_rewriting else "editing")

    def cancel_edit(self) -> bool:
        """End an edit that is not sent, and say so; return whether there was one."""
        if not self.edited_id:
            return False
        self.leave_edit(keeps_typed=False)
        self._ui.show_action("edit cancelled")
        return True

    def leave_edit(self, *, keeps_typed: bool = True) -> None:
        """End an edit, and restore what was typed before it.

        What the input has stays behind that (`keeps_typed`): it was typed after Enter.
        """
        if not self.edited_id:
            return
        typed = self._input.full_text if keeps_typed else ""
        if keeps_typed:
            self._aside.take_files(self._input.prompt)
        self._input.prompt = self._aside
        self.is_rewriting = False
        self._input.put(joined_paragraphs(self._before_edit, typed))
        self._before_edit = self._unedited = ""

    def put_files(self, files: PendingFiles, lines: Sequence[str]) -> None:
        """Put stored files into a prompt that is not sent; not if it was an edit that has ended.

        `lines` represent them there, each with its line break.
        """
        prompt = files.prompt
        if prompt is self._input.prompt:
            if self._editing is not None:
                self._input.put_before_typed("".join(lines))
            else:
                self._input.attach(files.typed, lines, files.words)
        elif not self._change_unseen(prompt, lambda text: files.put_into(text, lines)):
            self._ui.notify("A file was not attached, as the edit in which you named it has ended.")

    def put_back(self, session: OpenSession, *prompts: PendingPrompt) -> None:
        """Return unsent prompts to their session, in front of what is typed there.

        During an edit, only the edited one goes there: Enter must not send others with its text, so
        they go before the text that comes back after the edit. Those of a session without messages,
        to which the user cannot go back, go to the new one.
        """
        active = self._chat.active
        if session is not active and not session.messages:
            draft = self._drafts.text(session.session_id)
            files = self._left[session.session_id].files
            prompts = (*prompts, PendingPrompt(draft=draft, files=files))
            self._drafts.change(session.session_id, "")
            session = self._chat.open_sessions.new_session
        text = joined_paragraphs(*(prompt.draft for prompt in prompts))
        typed = self._input.prompt
        if session is not active:
            typed = self._left[session.session_id]
        elif self.edited_id not in ("", prompts[0].edited_id):
            typed = self._aside
        if typed is self._input.prompt:
            self._input.put_before_typed(text)
        else:
            self._change_unseen(typed, lambda old: joined_paragraphs(text, old))
        for prompt in prompts:
            typed.take_files(prompt)

    def _change_unseen(self, prompt: PendingPrompt, change: Callable[[str], str]) -> bool:
        """Change the text of a prompt that the input does not have; False if nothing has it."""
        if prompt is self._aside:
            self._before_edit = change(self._before_edit)
            self.keep_draft()  # else only a change of the input keeps it
            return True
        session_id = next((one for one, left in self._left.items() if left is prompt), "")
        if session_id:
            self._drafts.change(session_id, change(self._drafts.text(session_id)))
        return bool(session_id)

    def take_typed(self) -> str:
        typed = self._input.full_text
        self._input.put("")
        return typed

    def put_after_draft(self, typed: str) -> None:
        if typed:
            self._input.put(joined_paragraphs(self._input.full_text, typed))

    def edit_in_program(self) -> None:
        self._ui.suspend_for(self._edit)

    async def _edit(self) -> None:
        """If the editor fails, what it has saved is put into the prompt, too."""
        before = self._input.full_text
        files = Placeholders()
        editor = self._workspace.platform.editor(files.fold_files(before))
        self._editing = editing = _InEditor(editor, before, files)
        try:
            await editor.run()
        finally:
            # when cancelled, lmchat ends, and has taken the text
            self._put_edited(editing)
            self._editing = None

    async def take_from_editor(self) -> None:
        """Put what is saved in a running editor into the prompt: lmchat ends."""
        if self._editing is not None:
            await self._editing.editor.read()
            self._put_edited(self._editing)

    def _put_edited(self, editing: _InEditor) -> None:
        """Put the text of the editor in place of that with which it started.

        What has come since stays in front of it. A mark of an attached file would come from another
        text, and attach a file unseen.
        """
        text = editing.files.unfold(without_file_lines(editing.editor.saved_text))
        if text == editing.before:
            return
        before = editing.before
        editing.before = text
        since = self._input.full_text.removesuffix(before)
        if since and not since.endswith("\n"):
            since += "\n\n"
        self._input.put(since + text)
