"""App and screens without the faults of Textual 8.2.8 that end it or show what is private."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from textual import events, messages
from textual._compositor import Compositor, CompositorUpdate, ReflowResult
from textual.app import App
from textual.css.query import NoMatches
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import WorkerFailed

from lmchat.tui.quirks.driver import TerminalDriver
from lmchat.tui.quirks.key_queue import KeyQueue, Typed
from lmchat.tui.quirks.widths import mend_cuts

_LOW = 30  # a screen with fewer rows shows only the newest two notifications
CATCH_UP_S = 0.03  # interval of the checks whether a slow terminal has read everything


class PatchedApp(App[None]):
    """App that drops frames for a slow terminal and survives failing workers and late clicks."""

    def __init__(self) -> None:
        super().__init__()
        # These calls change classes of rich and Textual for the whole process; twice does no harm.
        mend_cuts()  # rich cuts rows within emoji flags and accents
        mend_painting()  # Textual renders whole widgets, and an error in one ends the app
        mend_layout()  # Textual sometimes tells a widget nothing of its new size
        self._has_dropped_frame = False  # whether `_catch_up` has to paint what was not written
        self._key_queue = KeyQueue(self, self._deliver_key)

    def begin_with_theme(self, name: str) -> None:
        """Set the theme before the app runs. Assigning `theme` would parse all styles twice.

        This does what Textual's watcher of `theme` does, except that it parses no styles.
        """
        self.set_reactive(App.theme, name)
        self.set_class(True, f"-theme-{name}", update=False)
        self.set_class(self.current_theme.dark, "-dark-mode", update=False)
        self.set_class(not self.current_theme.dark, "-light-mode", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    def report_failure(self, error: BaseException) -> None:
        """Report the exception of a worker. This ends the app; a subclass may show it instead."""
        super()._handle_exception(WorkerFailed(error))

    def cover_for(self, error: Exception) -> Widget:
        """Return what is shown in place of a widget whose drawing has raised an error.

        Here the error is raised, which ends the app; a subclass may return a widget.
        """
        raise error

    def redraw(self) -> None:
        """Draw covered widgets again, as Retry on a cover asks; one that fails is covered again."""
        for screen in self.screen_stack:
            for widget in screen.query():
                widget._uncover()

    @property
    def failure(self) -> Exception | None:
        return self._exception

    def has_notification(self, message: str) -> bool:
        """Whether a notification with these words is still shown."""
        return any(shown.message == message for shown in self._notifications)

    def _refresh_notifications(self) -> None:
        """Show the notifications; on a low screen, only the newest two, and forget the others.

        A notification may have three rows: more than two would cover the end of a short session.
        """
        if self.size.height < _LOW:
            for old in list(self._notifications)[:-2]:
                del self._notifications[old]
        super()._refresh_notifications()

    @property
    def is_terminal_behind(self) -> bool:
        """Whether the terminal has not read what was written to it for a while."""
        return isinstance(self._driver, TerminalDriver) and self._driver.is_behind

    async def on_event(self, event: events.Event) -> None:
        """Deliver keys in order; ignore input for a widget or screen that is gone.

        A forwarded key is on its way back from the widget that got it: it has been in the queue.
        """
        if isinstance(event, events.InputEvent) and self._is_late(event):
            return
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self._key_queue.put(event)
        else:
            await super().on_event(event)

    async def _deliver_key(self, event: Typed) -> Widget | None:
        """Deliver a key or paste; return the widget that gets it, None if a binding took it."""
        if self._is_late(event):  # it has waited for its turn since `on_event` looked
            return None
        receiver = self.focused or self.screen
        await super().on_event(event)
        return receiver if event.is_forwarded else None  # Textual has set it if no binding took it

    def _watch_app_focus(self, focus: bool) -> None:
        """Follow the focus of the terminal's window.

        A screen that was opened while the window lacked the focus has no focused widget; Textual
        would leave it so.
        """
        super()._watch_app_focus(focus)
        if focus:
            self.screen._update_auto_focus()

    def _is_late(self, event: events.Event) -> bool:
        """Return whether input comes too late: the app has ended, or a clicked widget is gone."""
        if self._exit or not self.is_running or not self._screen_stack:
            return True
        # a forwarded event comes back from its widget: it was looked at when it came first
        if event.is_forwarded or not isinstance(event, events.MouseDown):
            return False
        widget, _ = self.screen.get_widget_and_offset_at(event.x, event.y)
        return widget is not None and not widget.is_attached  # None: outside of the screen

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Write a frame, or drop it while the terminal is behind: it would come seconds late.

        What else Textual displays is written in any case: it is no frame, so `_catch_up` would not
        bring it back.
        """
        if isinstance(renderable, CompositorUpdate) and self.is_terminal_behind:
            if not self._has_dropped_frame:  # the first one: `_catch_up` paints for all of them
                self._has_dropped_frame = True
                self.set_timer(CATCH_UP_S, self._catch_up)
        else:
            super()._display(screen, renderable)

    def _catch_up(self) -> None:
        """Paint everything once the terminal has read what was written."""
        if self.is_terminal_behind:
            self.set_timer(CATCH_UP_S, self._catch_up)
        else:
            self._has_dropped_frame = False
            self.screen.refresh()

    def _handle_exception(self, error: Exception) -> None:
        """Report an error, but not that a widget is missing while the app ends.

        Textual calls this. Exceptions of workers go to `report_failure`, which a subclass replaces.
        """
        cause = error.error if isinstance(error, WorkerFailed) else error
        if not self.is_running and isinstance(cause, NoMatches):
            return  # the widgets of a screen are removed before its workers and messages
        if isinstance(error, WorkerFailed):
            self.report_failure(error.error)
        else:
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End without a traceback: Textual's shows all local variables, with keys and chats."""
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()  # Textual would print its tracebacks


def mend_painting() -> None:
    """Let all screens render only changed rows of widgets in front, and cover widgets that fail.

    Textual 8.2.8 renders each widget that touches a changed region in full, for each new word. An
    error in the drawing of one widget ends the app.
    """
    setattr(Compositor, "_get_renders", _rendered)  # noqa: B010 - for mypy


def _rendered(compositor: Compositor, crop: Region) -> Iterable[tuple[Region, Region, list[Strip]]]:
    """Yield region, rows and strips of each visible widget in the changed region `crop`.

    This replaces `Compositor._get_renders` of Textual, which renders all rows of the widget.
    """
    in_front: list[Region] = []  # of the widgets so far, as Textual gives the front ones first
    for widget, (region, clip) in compositor.visible_widgets.items():
        visible = region.intersection(clip)
        changed = visible.intersection(crop)
        is_hidden = any(other.contains_region(changed) for other in in_front)
        if changed and not is_hidden:
            rows = Region(visible.x, changed.y, visible.width, changed.height)
            yield region, rows, _drawn(widget, rows.translate((-region.x, -region.y)))
            in_front.append(visible)


def _drawn(widget: Widget, rows: Region) -> list[Strip]:
    """Return rows of a widget; if it cannot draw them, cover it, and return blank ones.

    The cover replaces the widget with the next layout; until then, the widget is not drawn. Textual
    has such covers for widgets that load.
    """
    if widget._cover_widget is None:
        try:
            return widget.render_lines(rows)
        except Exception as error:  # noqa: BLE001 - a subclass of the app logs and shows it
            cover = cast("PatchedApp", widget.app).cover_for(error)
            widget._cover(cover)
            cover._parent = widget.screen  # else the widget would get the clicks on the cover
    return [Strip.blank(rows.width)] * rows.height


_reflow = Compositor.reflow  # Textual's own


def mend_layout() -> None:
    """Let each layout tell all widgets that have another size since the last layout.

    Textual 8.2.8 compares the new places of widgets with those that it found last. It also finds
    them when a widget that is not shown asks for its own. If that is just before a layout, the
    widgets are told nothing: the log would keep the lines of its old width.
    """
    setattr(Compositor, "reflow", _reflowed)  # noqa: B010 - for mypy


def _reflowed(compositor: Compositor, parent: Widget, size: Size) -> ReflowResult:
    """Lay out, and compare with the last layout, which is kept as an attribute.

    This replaces `Compositor.reflow` of Textual, which compares with `_full_map`: that may be newer
    than the last layout (see `mend_layout`).
    """
    compositor._full_map = getattr(compositor, "_laid_out", {})
    result = _reflow(compositor, parent, size)
    setattr(compositor, "_laid_out", compositor._full_map)  # noqa: B010 - it is not Textual's
    return result


class PatchedScreen(Screen[None]):
    """Screen that paints only what has changed, below a dialog too.

    Below a dialog, Textual 8.2.8 writes the whole terminal for each frame of an answer, 375 kB/s.
    It also asks the dialog to refresh itself, so that the dialog forgets which widgets wait to be
    painted.
    """

    def _screen_resized(self, size: Size) -> None:
        """Lay the screen out for a new size; below a dialog, let the dialog paint all of it.

        The dialog may have painted this screen in its old layout, and keeps the rows of that.
        """
        super()._screen_resized(size)
        if self is not self.app.screen:
            self.app.screen.refresh()

    def _compositor_refresh(self) -> None:
        """Paint; below a dialog, replace the full repaint that Textual requests by an update.

        A changed screen below a dialog is not painted itself: Textual marks its regions on both
        screens, and requests a paint of both. The screen on top paints the regions, so this screen
        forgets them. In place of the full repaint, the screen on top gets an `Update`.
        """
        top = self.app.screen
        was_required = top._repaint_required  # as after a resize: that repaint has to stay
        super()._compositor_refresh()
        if self is not top:
            # `super` has marked the regions on this screen, too, but `top` paints them
            self._repaint_required = False
            self._exchange_repaint_regions()  # forgets the regions; their copy is not needed
            if top._repaint_required and not was_required:
                top._repaint_required = False
                top.post_message(messages.Update(top))  # paints only its widgets that wait
