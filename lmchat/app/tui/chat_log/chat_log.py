"""The chat log: the widget that shows the messages of a session as rows, with keys and mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any, ClassVar, Literal

from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer
from textual.worker import Worker

from lmchat.app.commands.table import Scope
from lmchat.app.markdown_lines.highlighter import Highlighter, Highlighting
from lmchat.app.tui.chat_log.copying import code_number, copied
from lmchat.app.tui.chat_log.document import Document, LogPosition
from lmchat.app.tui.chat_log.entry import Delta, Entry, is_streaming_answer
from lmchat.app.tui.chat_log.find import Finder
from lmchat.app.tui.chat_log.greeting import StyledWords
from lmchat.app.tui.chat_log.inflow import FrameBuffer
from lmchat.app.tui.chat_log.painter import PARTIAL_STYLES, TINTS, Painter, Thumb, rows_region
from lmchat.app.tui.chat_log.running_calls import RunningCalls
from lmchat.app.tui.chat_log.selection import AGAIN_S, TextSelection
from lmchat.app.tui.chat_log.viewport import Bookmark, Viewport
from lmchat.app.tui.messages import AppMessage, RunCommand, bindings
from lmchat.app.tui.quirks.frames import paint_at_once
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.servers.events import StreamEvent
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.session import MessagePath

SCROLL_EVERY_S = 0.05  # between steps of a drag above or below the log
_LEFT_BUTTON = 1


class ChatLog(ScrollView, can_focus=True):
    """The messages of a session. `update_screen` brings the screen up to date after any change."""

    ALLOW_SELECT: ClassVar[bool] = False  # the log has its own, also off the screen
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.MESSAGE)]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chat-log--margin",
        "chat-log--selected",
        *(f"chat-log--{name}" for name in (*TINTS, *PARTIAL_STYLES)),
    }

    class Changed(AppMessage):
        """Focus, selection, hits, or what is below the screen has changed."""

        IS_LATEST_ENOUGH = True

    class CodeClicked(AppMessage):
        """The key above a code block was clicked, which copies the block."""

        message: ChatMessage
        number: int  # among the code blocks of the text, or of the reasoning
        is_thought: bool

    class LinkClicked(AppMessage):
        """A link in a message was clicked."""

        address: str

    # Textual's has `layout=True`: laying out the screen for each new line would be half the work of
    # streaming
    virtual_size: Reactive[Size] = Reactive(Size(0, 0), repaint=False)
    is_marked = reactive(False)
    """Whether a message is chosen without its letters, as by a click; typing ends that."""

    def __init__(
        self,
        highlighter: Highlighter,
        *,
        user_keys: Mapping[str, str],
        frames_per_second: int,
        **options: Any,
    ) -> None:
        """`user_keys` are keys as people write them, by command id."""
        super().__init__(**options)
        self.set_reactive(ChatLog.auto_links, False)  # links are found in lines, not by hovering
        self.today: Callable[[], date | None] = lambda: None  # other days are shown with their date
        self.left_out = 0  # messages that the next request would leave out
        self.document = Document()
        self.viewport = Viewport(self.document, lambda: self.has_choice)
        self.finder = Finder(self.viewport, self._repaint)
        self.selection = TextSelection(self.viewport)
        self.painter = Painter(self.viewport, self.finder, self.selection, user_keys)
        self.inflow = FrameBuffer(self._show_frame, frames_per_second)
        self.highlighting = Highlighting(highlighter, self._request_colour_frame)
        self.calls = RunningCalls(self.viewport, self._changed)
        self._streaming: int | None = None  # index of the answer that this lmchat writes
        self._updated_size = Size(0, 0)  # of the widget when `update_screen` last ran
        self._is_own_scroll = False  # `update_screen` sets the scroll position
        self._thumb = Thumb(self)
        self._drag_timer: Timer | None = None
        self._colouring: Worker[None] | None = None
        self._posted: object = None  # the log when `Changed` was posted last

    # Bringing the screen up to date

    def update_screen(self, changed: LogPosition | None = None) -> None:
        """Bring the screen up to date after a change; the only place with the order of the steps.

        Rows are painted again from that of `changed` on. Without it, `watch_scroll_y` paints them
        if the log has scrolled. After a change of marks, call `_repaint`.
        """
        if self.painter.page is None and len(self.document):
            self._fit_page()
        self._updated_size = self.outer_size
        self.viewport.resize(max(self.size.height, 1))
        if self.selection.selected is not None:
            with self.viewport.anchored():
                self.selection.find_again()  # lays out its ends
        is_colouring = self._colouring is not None and not self._colouring.is_finished
        if self.is_attached and self.highlighting.is_needed and not is_colouring:
            self._colouring = self.run_worker(self.highlighting.run, group="colours")

        total = self.document.total
        top = self.viewport.top
        self._is_own_scroll = True
        self.virtual_size = Size(1, total) if total else Size(0, 0)  # 1: no scrolling sideways
        if top != round(self.scroll_y):  # `watch_scroll_y` repaints all rows
            # `ChatLog.scroll_to` may call `update_screen` again
            super().scroll_to(y=top, animate=False, force=True)
        elif changed is not None:
            row = self.document.row_of(changed) - top  # of the screen; rows below may have moved
            self.refresh(rows_region(self, row, max(self.size.height - row, 1)))
        self._is_own_scroll = False

        self._thumb.move(is_growing=self._streaming is not None and self.viewport.is_following)
        self._post_change()

    def _post_change(self) -> None:
        finder = self.finder
        viewport = self.viewport
        state = (
            (viewport.has_new_text, viewport.is_at_end, viewport.focused, self.is_marked),
            self.selection.selected is not None,
            (finder.is_active, finder.number_and_count),
        )
        if state != self._posted:
            self._posted = state
            self.post_message(self.Changed())

    def _repaint(self) -> None:
        """Bring the screen up to date, and paint all rows: focus, selection or hits changed."""
        self.update_screen()
        self.refresh()

    def watch_virtual_size(self, size: Size) -> None:
        """Show the scrollbar if it is needed; Textual lays the screen out only if that changes."""
        self.show_vertical_scrollbar = 0 < self.container_size.height < size.height
        self.scroll_y = self.validate_scroll_y(self.scroll_y)  # the log may have become shorter

    # Page and rows

    def _fit_page(self) -> None:
        if not self.outer_size.width:  # not on the screen yet
            return
        page = self.painter.fit(self, today=self.today(), colours=self.highlighting.colours)
        if page is not None:
            self.viewport.set_page(page, max(self.size.height, 1))
            self.refresh()

    def on_resize(self) -> None:
        if self.painter.page is not None:
            self._fit_page()
        self.update_screen()

    def notify_style_update(self) -> None:
        """Lay out again in the styles of another theme.

        Textual calls this before it sets the component styles, which the page needs: hence
        `call_next`.
        """
        super().notify_style_update()
        if self.painter.page is not None and self.is_mounted:
            self.call_next(self.on_resize)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows without the border and opacity that Textual would add."""
        return self.painter.rows(self, crop.y, crop.height)

    # A key that scrolls runs: binding and action of Textual's ScrollableContainer, `scroll_to`,
    # `watch_scroll_y`, `Viewport.scroll_to_row`, `update_screen`; at the end also `scroll_end`.

    def watch_scroll_y(self, _old_value: float, new_value: float) -> None:
        """Follow the user's scrolling, but not that of `update_screen` and of a resize."""
        y = round(new_value)
        # without the scrollbar, which `_thumb` paints
        self.refresh(rows_region(self, 0, self.size.height))
        if self._is_own_scroll or y == self.viewport.top:
            return
        if self._updated_size == self.outer_size:  # else a resize scrolled, and `on_resize` follows
            self.viewport.scroll_to_row(y)
            self.calls.note_following()
            self.update_screen()

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll without animation, which misses moving targets; at the end, follow the end."""
        super().scroll_to(x, y, **(options | {"animate": False, "force": True}))
        if y is not None and y >= self.viewport.last_top and self.viewport.is_at_end:
            self.scroll_end()  # `watch_scroll_y` does not run if nothing moves

    def on_mouse_scroll_down(self) -> None:
        """Follow the end if it is on the screen: the wheel changes no position there."""
        if self.viewport.is_at_end:
            self.scroll_end()

    def scroll_end(self, **_options: Any) -> None:
        """Follow the end, also while text is selected; the options are Textual's."""
        if self.selection.pressed is None:
            self.viewport.let_go()
        self.viewport.scroll_to_end()
        self._repaint()

    def action_scroll_end(self) -> None:
        """Textual does nothing while all fits, but the end may not be followed."""
        self.scroll_end()

    # Messages and their text

    def show(self, messages: Sequence[ChatMessage], *, is_ours: bool = True) -> None:
        """`is_ours`: this lmchat writes the answer that streams, if the last message is one."""
        self.is_marked = False
        self.inflow.end_wait()
        self.highlighting.reset()
        is_streaming = is_ours and bool(messages) and is_streaming_answer(messages[-1])
        self._streaming = len(messages) - 1 if is_streaming else None
        self.document.reset(messages, is_streaming=is_streaming)
        self.viewport.reset()
        self.selection.drop()
        if self.has_focus:  # Textual sets it late, and then `on_focus` does this
            self.viewport.focus_last()
        self.finder.search_again()
        self._repaint()

    def prepend_older(self, messages: MessagePath) -> None:
        """Add messages before those shown; what is read keeps its row."""
        first = self.document.entries[0].message
        earlier_count = messages.index_of(first.message_id)
        if earlier_count is None:  # the log shows another path
            return
        if self._streaming is not None:
            self._streaming += earlier_count
        self.viewport.prepend(messages.before(earlier_count))
        self.selection.drop()  # its ends have old indices
        self.finder.shift_messages(earlier_count)
        self.update_screen()

    def greet(self, sentence: Sequence[StyledWords]) -> None:
        if self.painter.greeting != sentence:
            self.painter.greeting = tuple(sentence)
            if not len(self.document):
                self.refresh()

    def append(self, message: ChatMessage) -> None:
        self._add(Entry(message))

    def start_answer(self, message: ChatMessage) -> None:
        self._streaming = self._add(Entry(message, is_streaming=True))

    def _add(self, entry: Entry) -> int:
        self.flush()  # text of the answer above
        with self.viewport.anchored():
            index = self.document.append(entry)
            self.viewport.note_new_text()
        self.finder.recount(index)
        self.update_screen(
            LogPosition(max(index - 1, 0))
        )  # the row below the last answer has changed
        return index

    def apply(self, event: StreamEvent) -> None:
        """Take an event; show text of a running answer with the next frame."""
        if self._streaming is not None and isinstance(event, Delta):
            self.inflow.add(event)

    def _request_colour_frame(self) -> None:
        """Request a frame for colours, unless an answer runs: its frames show them.

        A frame for colours alone would delay the next text, as frames have a least time between
        them.
        """
        if self._streaming is None:
            self.inflow.request_frame()

    def _show_frame(self) -> None:
        """Show what has arrived; a timer of asyncio calls this.

        Textual drops a timer that starts late, and the text would wait.
        """
        paint_at_once(self, partial(self.inflow.show_and_measure, self.flush))

    def flush(self) -> None:
        """Show the text and colours that have arrived, and the stats of the running answer."""
        deltas = self.inflow.end_wait()
        recoloured = self.highlighting.drain()
        if self._streaming is None and not recoloured:
            return
        changed = []
        with self.viewport.anchored():
            if self._streaming is not None:
                for delta in deltas:
                    self.document.entries[self._streaming].feed(delta)
                    self.viewport.note_new_text()
                changed.append(self.document.grow(self._streaming))
            position = self.document.lay_out_again(recoloured)
            if position is not None:
                changed.append(position)
        self.update_screen(min(changed, default=None))

    def shows_stage(self, stage: Stage) -> bool:
        """Return whether the row below the streaming answer names this stage, if there is one."""
        if self._streaming is None:
            return True
        stats = self.document.entries[self._streaming].live_stats
        return stats is not None and stats.stage is stage

    def show_stats(self, stats: LiveStats, now_s: float, thought_hint: str = "") -> None:
        if self._streaming is None:
            return
        self.document.entries[self._streaming].show_stats(stats, now_s, thought_hint)
        if self.inflow.timer is None:  # else the next frame shows them
            self.flush()

    def restate(self, message: ChatMessage) -> None:
        """Show the streaming answer in new parts: its text has turned out to be reasoning."""
        # `message` has the text that waits: the next frame would add it again
        self.flush()
        index = self._streaming
        if index is None:
            return
        with self._changed(index) as entry:
            if not self.viewport.is_following:
                entry.is_collapsed = False  # the user may be reading it
            entry.set_parts(message.parts)

    def end_answer(self, message: ChatMessage, *, has_call_messages: bool = False) -> None:
        """Show the final form of the answer that streams, or add it.

        `has_call_messages`: its calls are run, each shown by a message below.
        """
        self.flush()
        index = self._streaming
        self._streaming = None
        if index is not None:
            with self._changed(index) as entry:
                entry.has_call_messages = has_call_messages
                entry.set_message(message)
        elif not self.replace(message):
            self.append(message)

    def replace(self, message: ChatMessage) -> bool:
        """Return whether the message is in the log."""
        index = self.document.index_of(message.message_id)
        if index is None:
            return False
        with self._changed(index) as entry:
            # the entry of a streaming answer has newer text
            if index == self._streaming:
                entry.message = message
            else:
                entry.set_message(message)
        return True

    def mark_left_out(self, count: int, before_id: str | None) -> None:
        """Say above message `before_id` how many before it the next request leaves out."""
        self.left_out = count
        for index, entry in enumerate(self.document.entries):
            left_out = count if entry.message.message_id == before_id else 0
            if entry.left_out != left_out:
                with self._changed(index):
                    entry.left_out = left_out

    @contextmanager
    def _changed(self, index: int) -> Iterator[Entry]:
        """Change a message in the block of the context."""
        with self.viewport.anchored():
            yield self.document.entries[index]
            self.document.rebuild(index)
            self.finder.recount(index)
        self.update_screen(LogPosition(index))

    # The chosen message

    @property
    def has_choice(self) -> bool:
        """Whether a message has the focus or is marked."""
        return self.is_marked or self.screen.focused is self

    @property
    def focused_message(self) -> ChatMessage | None:
        """The one that commands act on."""
        index = self.viewport.focused if self.has_choice else None
        return None if index is None else self.document.entries[index].message

    def focus_message(self, step: int) -> bool:
        """Focus the marked message, or else that below (`step` 1) or above (-1).

        Return False if only the prompt is there.
        """
        had_focus = self.screen.focused is self  # Textual sets `has_focus` later
        has_any = self.is_marked or self.viewport.step_focus(step, had_focus=had_focus)
        if has_any:  # `focus` would act after `_repaint`
            self.screen.set_focus(self, scroll_visible=False)
        self._repaint()
        return has_any

    def go_to_message(self, message_id: str, *, row: int | None = None) -> bool:
        """Bring a message into view, or to a row of the screen; return whether it exists.

        It is marked if the log lacks the focus.
        """
        index = self.document.index_of(message_id)
        if index is None:
            return False
        self._choose(index)
        if row is None:
            self.viewport.scroll_to_message(index)
        else:
            self.viewport.scroll_to_position(LogPosition(index), row)
        self._repaint()
        return True

    def _choose(self, index: int) -> None:
        self.viewport.focus(index)
        self.is_marked = self.screen.focused is not self

    def show_card(self) -> None:
        """Bring the card of a tool call into view; of a high one, its beginning."""
        index = self.document.index_of(self.calls.card_id)
        if index is not None:
            self.viewport.scroll_to_message(index)
            self._repaint()

    def focus_hit(self) -> None:
        if self.finder.index is not None:
            self.viewport.focus(self.finder.index)
        self.screen.set_focus(self, scroll_visible=False)
        self._repaint()

    def on_focus(self) -> None:
        self.is_marked = False
        self.viewport.focus_last()
        self._repaint()

    def on_blur(self, _event: events.Blur) -> None:
        self.refresh()  # the mark of the focused message goes

    def go_to_bookmark(self, bookmark: Bookmark) -> None:
        self.viewport.go_to_bookmark(bookmark)
        self._repaint()

    # Selection

    def selected_text(self) -> str:
        """Return what would be copied; then call `update_screen`, as heights may change."""
        with self.viewport.anchored():
            selected = self.selection.find_again()
            return "" if selected is None else copied(self.document, selected)

    def drop_selection(self) -> bool:
        """Return whether there was a selection."""
        had_any = self.selection.selected is not None
        self.selection.drop()
        self._repaint()
        return had_any

    def copy_selection(self) -> bool:
        """Copy the selection and drop it; return whether there was one, also of blanks alone."""
        text = self.selected_text()
        if text:
            self.app.copy_to_clipboard(text)
        return self.drop_selection()  # also calls `update_screen`

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button != _LEFT_BUTTON or not self.document.total:
            return
        self.on_mouse_up()  # an earlier press may have ended outside
        self.selection.press(self.painter.cell_after_bar(event.x), event.y, event.time)
        self.capture_mouse()
        self._drag_timer = self.set_interval(SCROLL_EVERY_S, self._scroll_by_drag)
        self._repaint()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        pointer = (self.painter.cell_after_bar(event.x), event.y)
        if self.selection.pressed is None or pointer == self.selection.pointer:
            return
        if event.button != _LEFT_BUTTON:  # the button was released outside
            self.on_mouse_up()
            return
        self.selection.drag(*pointer)
        self._repaint()

    def _scroll_by_drag(self) -> None:
        """Scroll the faster, the farther the pointer is above or below the log."""
        x, y = self.selection.pointer
        if 0 <= y < self.size.height:
            return
        rows_outside = y if y < 0 else y - self.size.height + 1
        self.scroll_to(y=min(max(self.viewport.top + rows_outside, 0), self.viewport.last_top))
        self.selection.drag(x, y)
        self._repaint()

    def on_mouse_up(self) -> None:
        self.selection.release()
        if self._drag_timer is not None:
            self._drag_timer.stop()
        self.release_mouse()
        self.set_timer(AGAIN_S, self._follow_after_click)  # the next press may be the second of two

    def _follow_after_click(self) -> None:
        self.selection.let_go_of_log()
        self.update_screen()

    def action_select(self, step: int) -> None:
        self.selection.extend(step)
        self._repaint()

    # Acts on messages

    def action_hit(self, step: int) -> None:
        """Go one hit forward or back; without a search, repeat the last or open the find bar."""
        finder = self.finder
        if not finder.is_active and finder.last_words:
            finder.find(*finder.last_words)
        if not finder.is_active:
            self.post_message(RunCommand("find"))
        elif finder.step(step) == (0, 0):
            self.notify("No hits.", markup=False)

    def toggle(self, attribute: Literal["is_collapsed", "is_source"]) -> None:
        index = self.viewport.focused
        if index is not None:
            self.viewport.toggle(index, attribute)
            self.finder.recount(index)  # its hits are in other blocks now
            self._repaint()

    def on_click(self, event: events.Click) -> None:
        y = self.viewport.top + event.y
        if self.selection.was_dragged or y >= self.document.total:
            return
        position = self.document.locate(y)
        message = self.document.entries[position.message_index].message
        meta = event.style.meta
        act = str(meta.get("act", ""))
        if not act or act.startswith("message."):
            self._choose(position.message_index)
            self._repaint()
        if act == "message.copy_code":
            is_thought = self.document.block(position).is_thought
            number = code_number(self.document, position)
            self.post_message(self.CodeClicked(message, number, is_thought))
        elif act:
            self.post_message(RunCommand(act))
        elif "link" in meta:
            self.post_message(self.LinkClicked(str(meta["link"])))
