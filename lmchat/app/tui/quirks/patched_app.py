"""App and screens without faults of Textual 8.2.8 that end the app or show what is private."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import textual.screen
from textual import events, messages
from textual._compositor import (
    Compositor,
    CompositorMap,
    CompositorUpdate,
    ReflowResult,
)
from textual.app import App
from textual.css.query import NoMatches
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import WorkerFailed

from lmchat.app.tui.quirks.driver import TerminalDriver
from lmchat.app.tui.quirks.frames import DrawnRows, PlacedStrip, RowsUpdate
from lmchat.app.tui.quirks.key_queue import KeyQueue, Typed
from lmchat.app.tui.quirks.keys import Paste, mend_typing, without_idle_modifiers
from lmchat.app.tui.quirks.widths import patch_cuts

CATCH_UP_S = 0.03  # interval of the checks of a slow terminal


class PatchedApp(App[None]):
    """App that drops frames for a slow terminal, and survives failing workers and late clicks."""

    def __init__(self) -> None:
        super().__init__()
        # for the whole process; twice does no harm
        patch_cuts()  # rich cuts rows within emoji flags and accents
        mend_typing()  # Textual takes many letters and blanks for no text
        patch_compositor()  # Textual paints too much, loses sizes, and ends the app for one widget
        self._has_dropped_frame = False  # `_catch_up` has to paint what was not written
        self._drawn_rows: DrawnRows = {}
        self.key_queue = KeyQueue(self, self._deliver_key)

    def start_with_theme(self, name: str) -> None:
        """Do what Textual's watcher of `theme` does, which would parse all styles twice."""
        self.set_reactive(App.theme, name)
        self.set_class(True, f"-theme-{name}", update=False)
        self.set_class(self.current_theme.dark, "-dark-mode", update=False)
        self.set_class(not self.current_theme.dark, "-light-mode", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    def report_failure(self, error: BaseException) -> None:
        """End the app; a subclass may show the error instead."""
        super()._handle_exception(WorkerFailed(error))

    def cover_for(self, error: Exception) -> Widget:
        """Return what is shown for a widget that cannot be drawn; here, raise the error."""
        raise error

    def redraw(self) -> None:
        """Write all cells again, also those of covered widgets; one that fails is covered again."""
        for screen in self.screen_stack:
            for widget in screen.query():
                widget._uncover()
        self.screen.refresh()

    @property
    def failure(self) -> BaseException | None:
        failure = self._exception
        return failure.error if isinstance(failure, WorkerFailed) else failure

    @property
    def is_terminal_behind(self) -> bool:
        """Whether the terminal has not read what was written for a while."""
        return isinstance(self._driver, TerminalDriver) and self._driver.is_behind

    async def on_event(self, event: events.Event) -> None:
        """Deliver keys in order; ignore input for a widget or screen that is gone.

        A forwarded key has been in the queue.
        """
        if isinstance(event, events.InputEvent) and self._is_late(event):
            return
        if isinstance(event, events.Key | Paste) and not event.is_forwarded:
            await self.key_queue.put(event)
        else:
            await super().on_event(event)

    def field_for(self, event: Typed) -> Widget | None:  # noqa: ARG002 - for the subclass
        """Return the field that takes it as text although another widget may have the focus."""
        return None

    async def _deliver_key(self, event: Typed) -> Widget | None:
        """Return the widget that gets the key or paste, None if a binding took it."""
        if self._is_late(event):  # it has waited for its turn
            return None
        self.app_focus = True  # as Textual does, but before it is asked what has the focus
        if isinstance(event, events.Key):
            chain = self.screen._modal_binding_chain
            event = without_idle_modifiers(
                event, lambda key: any(key in bindings.key_to_bindings for _, bindings in chain)
            )
        receiver = self.field_for(event)
        if receiver is not None:
            receiver.screen.set_focus(receiver)
            receiver._forward_event(event)  # a dialog may be above it
            return receiver
        receiver = self.focused or self.screen
        await super().on_event(event)
        return receiver if event.is_forwarded else None  # Textual has set it if no binding took it

    def _watch_app_focus(self, focus: bool) -> None:
        """Focus a widget when the window gets the focus.

        A screen that was opened without it has no focused widget.
        """
        super()._watch_app_focus(focus)
        if focus:
            self.screen._update_auto_focus()

    def _is_late(self, event: events.Event) -> bool:
        """Whether the app has ended, or a clicked widget is gone."""
        if self._exit or not self.is_running or not self._screen_stack:
            return True
        # looked at when it came first
        if event.is_forwarded or not isinstance(event, events.MouseDown):
            return False
        widget, _ = self.screen.get_widget_and_offset_at(event.x, event.y)
        return widget is not None and not widget.is_attached  # None: outside of the screen

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Drop a frame while the terminal is behind: it would come seconds late.

        What else Textual displays is written: `_catch_up` would not bring it back.
        """
        if isinstance(renderable, CompositorUpdate) and self.is_terminal_behind:
            if not self._has_dropped_frame:  # `_catch_up` paints for all of them
                self._has_dropped_frame = True
                self.set_timer(CATCH_UP_S, self._catch_up)
        elif self._batch_count:  # nothing is written
            super()._display(screen, renderable)
        elif isinstance(renderable, RowsUpdate):
            super()._display(screen, cast("Any", renderable.without(self._drawn_rows)))
        else:
            self._drawn_rows.clear()  # it draws over them
            super()._display(screen, renderable)

    def _catch_up(self) -> None:
        if self.is_terminal_behind:
            self.set_timer(CATCH_UP_S, self._catch_up)
        else:
            self._has_dropped_frame = False
            self.screen.refresh()

    def _handle_exception(self, error: Exception) -> None:
        cause = error.error if isinstance(error, WorkerFailed) else error
        if not self.is_running and isinstance(cause, NoMatches):
            return  # a screen loses its widgets before its workers and messages
        if isinstance(error, WorkerFailed):
            self.report_failure(error.error)
        else:
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End without a traceback: Textual's shows all local variables, with keys and chats."""
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()  # Textual's tracebacks


def patch_compositor() -> None:
    """Let all screens made from now on have a `PatchedCompositor`."""
    setattr(textual.screen, "Compositor", PatchedCompositor)  # noqa: B010 - for mypy


class PatchedCompositor(Compositor):
    """Compositor that renders only what has changed, covers widgets that fail, and loses no size.

    For each new word, Textual renders all rows of each widget that touches the smallest rectangle
    around all changes, and an error in the drawing of one widget ends the app. It cuts each row
    where any widget starts or ends; here, only if one covers a part of another.

    Textual compares the new places of widgets with those found last, also for a widget that is not
    shown. If that was just before a layout, the log would keep the lines of its old width. Here,
    each layout is compared with the one before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed: Sequence[Region] = ()  # regions of a partial update, while it is made
        self._laid_out: CompositorMap = {}  # places of the widgets

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        self._full_map = self._laid_out  # with which `super` compares
        result = super().reflow(parent, size)
        self._laid_out = self._full_map
        return result

    def render_partial_update(self) -> CompositorUpdate | None:  # type: ignore[override]
        regions = self._dirty_regions
        # without regions within others, which would be rendered twice
        self._changed = [
            region
            for region in regions
            if not any(other != region and other.contains_region(region) for other in regions)
        ]
        try:
            owned = {
                part: widget
                for part in self._changed
                if (widget := self._owner_of(part)) is not None
            }
            if len(owned) < len(self._changed):
                return super().render_partial_update()
            regions.clear()
            rows: list[PlacedStrip] = []
            for changed, widget in owned.items():
                region, clip = self.visible_widgets[widget]
                visible = region.intersection(clip)
                whole = Region(visible.x, changed.y, visible.width, changed.height)
                strips = _drawn(widget, whole.translate((-region.x, -region.y)))
                start = changed.x - visible.x
                rows += (
                    PlacedStrip(changed.x, y, strip.crop(start, start + changed.width))
                    for y, strip in zip(changed.line_range, strips, strict=False)
                )
            return RowsUpdate(rows)
        finally:
            self._changed = ()

    def _owner_of(self, changed: Region) -> Widget | None:
        """Return the widget that draws all of a region; None if others draw parts of it."""
        for widget, (region, clip) in self.visible_widgets.items():  # from the front
            visible = region.intersection(clip)
            if visible.overlaps(changed):
                return widget if visible.contains_region(changed) else None
        return None

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        changed = self._changed or (crop or self.size.region,)
        in_front: list[Region] = []  # Textual gives these first
        for widget, (region, clip) in self.visible_widgets.items():
            visible = region.intersection(clip)
            parts = [part for other in changed if (part := visible.intersection(other))]
            for part in parts:
                if not any(front.contains_region(part) for front in in_front):
                    rows = Region(visible.x, part.y, visible.width, part.height)
                    yield region, rows, _drawn(widget, rows.translate((-region.x, -region.y)))
            if parts:
                in_front.append(visible)


def _drawn(widget: Widget, rows: Region) -> list[Strip]:
    """Return rows of a widget; if it cannot draw them, cover it, and return blank ones.

    The cover replaces it with the next layout; until then, it is not drawn.
    """
    if widget._cover_widget is None:
        try:
            return widget.render_lines(rows)
        except Exception as error:  # noqa: BLE001 - a subclass of the app logs and shows it
            cover = cast("PatchedApp", widget.app).cover_for(error)
            widget._cover(cover)
            cover._parent = widget.screen  # else the widget would get clicks on the cover
    return [Strip.blank(rows.width)] * rows.height


class PatchedScreen(Screen[None]):
    """Screen that paints only what has changed, below a dialog too.

    There, Textual 8.2.8 writes the whole terminal for each frame of an answer, 375 kB/s. It also
    asks the dialog to refresh itself, which then forgets which widgets wait to be painted.
    """

    def _screen_resized(self, size: Size) -> None:
        """Let a dialog above paint all: it keeps rows of this screen in its old layout."""
        super()._screen_resized(size)
        if self is not self.app.screen:
            self.app.screen.refresh()

    def _compositor_refresh(self) -> None:
        """Below a dialog, replace the full repaint that Textual requests by an update.

        Textual marks the changed regions on both screens. The one on top paints them.
        """
        top = self.app.screen
        was_required = top._repaint_required  # as after a resize: it has to stay
        super()._compositor_refresh()
        if self is not top:
            self._repaint_required = False
            self._exchange_repaint_regions()  # their copy is not needed
            if top._repaint_required and not was_required:
                top._repaint_required = False
                top.post_message(messages.Update(top))  # paints only the widgets that wait
