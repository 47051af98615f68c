"""Parts of the chat screen that show the open session: session, title, queue and list."""

from __future__ import annotations

from textual import on

from lmchat.domain.message import Role
from lmchat.errors import LMChatError
from lmchat.services.conversation import Conversation
from lmchat.services.library import with_unsaved
from lmchat.services.open_sessions import written_elsewhere
from lmchat.text import safe_line
from lmchat.tui.screens.chat_figures import RUNNING_TICK_S, WAITING_TICK_S, ChatFigures
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.line import STRONG, content
from lmchat.tui.widgets.pill import Pill
from lmchat.tui.widgets.prompt_input import PromptInput

FILL_AFTER_S = 0.1
"""From the first sight of a long session to the reading of the rest: keys come first."""
MARK_AFTER_S = 0.3
"""From a key to the look at what would be left out: it goes over the whole session."""
_TITLE = "New session"


class ChatBase(ChatFigures):
    """Keeps the screen up to date with the session that is shown."""

    def on_mount(self) -> None:
        """Show an empty session; what comes from the disk follows after the first paint."""
        ui = self.workspace.settings.ui
        self.log_view.inflow.frames_per_second = ui.frames_per_second
        self.log_view.typed_into = self.prompt_input
        pace_s = WAITING_TICK_S if ui.reduced_motion else RUNNING_TICK_S
        self._ticker = self.set_interval(pace_s, self.tick, pause=True)
        self.show_conversation()

    def show_session(self) -> None:
        """Show the open session."""
        self.show_conversation()
        self.show_queue()
        self.show_sessions()

    def show_conversation(self) -> None:
        """Show its messages, title and figures."""
        conversation = self.open_sessions.shown.conversation
        self.show_messages(conversation)
        self.mark_left_out()
        self.show_title()
        self.refresh_figures()

    def show_messages(self, conversation: Conversation) -> None:
        """Show the messages of a session from their end; what was not read yet follows a moment later."""
        self.log_view.load(
            conversation.shown_messages,
            is_whole=conversation.is_whole,
            elsewhere=written_elsewhere(conversation),
        )
        if not conversation.is_whole:
            self.set_timer(FILL_AFTER_S, lambda: self._begin_fill(conversation))

    def _begin_fill(self, conversation: Conversation) -> None:
        if self.open_sessions.is_shown(conversation):
            self.begin_work(lambda: self._fill(conversation), "fill")

    async def _fill(self, conversation: Conversation) -> None:
        """Read what a long session holds before its end, and show it above what is on the screen."""
        try:
            await conversation.fill()
        except LMChatError as error:
            self.app.notify(safe_line(error.words), severity="warning", markup=False)
            return
        if self.open_sessions.is_shown(conversation):
            self.mark_left_out()
            self.refresh_figures()

    def _show_rest(self) -> None:
        """Show what was read by now, whoever asked for it, above what is on the screen."""
        conversation = self.open_sessions.shown.conversation
        if conversation.is_whole and not self.log_view.is_whole:
            self.log_view.fill(conversation.shown_messages)

    @on(ChatLog.Found)
    def show_found(self, event: ChatLog.Found) -> None:
        """Say in the find bar which of how many hits is shown."""
        from lmchat.tui.widgets.find_bar import FindBar

        for bar in self.query(FindBar):
            bar.show_place(event.place, event.count, is_whole=event.is_whole, is_sure=event.is_sure)

    def close_find_bar(self) -> None:
        """Hide the find bar, if it is shown, and unmark what was found."""
        for bar in self.query("FindBar"):
            bar.display = False
        if self.log_view.finder.is_active:
            self.log_view.hits.clear()

    def show_title(self) -> None:
        """Show the title of the session."""
        title = safe_line(self.open_sessions.shown.conversation.header.title) or _TITLE
        self.title_line.show([content(((title, STRONG),))])

    def show_queue(self) -> None:
        """Show what waits above the prompt."""
        entries = [(queued.text, queued.is_held) for queued in self.open_sessions.shown.queue]
        self.begin_work(lambda: self.prompt.show_queue(entries), "queue")

    def show_sessions(self) -> None:
        """Fetch the list of sessions anew."""
        self.begin_work(self._list_sessions, "library")

    async def _list_sessions(self) -> None:
        typed, limit = self.sessions.part
        try:
            self._listed = await self.workspace.library.listed(typed, limit=limit)
            self._list_warning = ""
            self._take_title()
        except LMChatError as error:
            self._list_warning = error.words
            self.refresh_figures()
        self.sessions.show(
            with_unsaved(self._listed.groups, self.open_sessions.unsaved()),
            self.conversation_id,
            self.open_sessions.streaming,
            self.open_sessions.unread,
            typed=typed,
            is_more=self._listed.is_more,
        )

    def _take_title(self) -> None:
        """Take over a title that another window has given to the session that is shown."""
        shown = self.open_sessions.shown.conversation
        listed = (header for group in self._listed.groups for header in group.headers)
        header = next((one for one in listed if one.session_id == shown.header.session_id), None)
        if header is not None and header.title != shown.header.title:
            shown.rename(header.title)
            self.show_title()

    def mark_left_out(self) -> None:
        """Mark in the log what would be left out of the next request, before it is sent."""
        self._show_rest()
        plan = self.open_sessions.plan(self.prompt_input.full_text)
        first = next((one for one in plan.messages if one.role is not Role.SYSTEM), None) if plan else None
        self._marker = None
        self._left_out = plan.left_out if plan else 0
        self.log_view.mark_left_out(self._left_out, first.message_id if first else None)

    @on(ChatLog.NewLines)
    def show_pill(self, event: ChatLog.NewLines) -> None:
        """Tell how much stands below the view."""
        self.prompt.pill.show_new_lines(None if self.log_view.viewport.is_at_end else event.count)

    @on(Pill.Pressed)
    def follow_again(self) -> None:
        """Go to the end."""
        self.log_view.scroll_end()
        self.prompt_input.focus()

    @on(PromptInput.Paged)
    def page_log(self, event: PromptInput.Paged) -> None:
        """Page through the log from the prompt."""
        if event.direction < 0:
            self.log_view.scroll_page_up()
        else:
            self.log_view.scroll_page_down()

    @on(PromptInput.HomePressed)
    def show_beginning(self) -> None:
        """Go to the first message; the prompt keeps the focus."""
        self.log_view.scroll_home()

    @on(PromptInput.Drafted)
    def count_draft(self) -> None:
        """Show the estimate of what is typed."""
        self._show_status()
        if self._marker is None:
            self._marker = self.set_timer(MARK_AFTER_S, self.mark_left_out)
