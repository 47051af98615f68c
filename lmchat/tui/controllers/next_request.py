"""`/request`: what the next request of the shown session sends, with the draft as its prompt."""

from __future__ import annotations

from functools import partial

from lmchat.errors import LMChatError
from lmchat.servers.request import TemplateText
from lmchat.services.next_request import checked_form, next_request
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.message_contents import MessageContents
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.dialogs.request_dialog import RequestDialog


class NextRequest:
    """Puts the next request together and shows it; nothing is generated or saved."""

    def __init__(
        self,
        chat: Chat,
        sessions: ShownSession,
        prompt_text: PromptText,
        contents: MessageContents,
    ) -> None:
        self._chat = chat
        self._sessions = sessions
        self._prompt_text = prompt_text
        self._contents = contents

    def show(self, form: str = "") -> None:
        """Show the next request in a worker.

        `form` is what was typed behind `/request`: `text`, `json` or `curl`, or nothing, for the
        first of them that the server has.
        """
        typed = f"/request {form}" if form else ""  # given back after an error, to be corrected
        work = partial(self._show, form)
        self._chat.begin(work, "request", typed=typed, is_only=True)

    async def _show(self, typed_form: str) -> None:
        """Show the next request, unless another session is shown by the time it is complete."""
        form = checked_form(typed_form)
        conversation = self._sessions.conversation
        settings = self._chat.open_sessions.next_turn.settings(conversation.own_sampling)
        words, files = self._chat.open_sessions.files.split(self._prompt_text.unedited_prompt)
        request = await next_request(conversation, words, settings, files)
        outgoing = await self._chat.workspace.backend.outgoing(request)
        template_text: TemplateText | LMChatError
        try:
            template_text = await self._chat.workspace.backend.template_text(request)
        except LMChatError as error:
            template_text = error
        if conversation is self._sessions.conversation:
            dialog = RequestDialog(template_text, outgoing, form, self._contents.page_text)
            self._chat.show(dialog)
