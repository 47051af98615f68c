"""A tiny app around one widget or screen: themes, sizes and styles of the real one; it lists posted facts."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import thread
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CodeType
from typing import ClassVar
from unittest.mock import patch

from textual import _callback, _wait, app, events, pilot
from textual._compositor import Compositor
from textual._context import visible_screen_stack
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from lmchat.app.commands.table import Scope
from lmchat.app.tui.line_filters import ascii_filters
from lmchat.app.tui.messages import bindings
from lmchat.app.tui.themes import THEMES
from lmchat.app.tui.widgets.prompt_area import PromptArea

_SPEC = importlib.util.find_spec("lmchat.app.tui")
_FOLDER = Path(_SPEC.submodule_search_locations[0])


class Host(App[None]):
    CSS_PATH: ClassVar = [_FOLDER / "lmchat.tcss"]
    HORIZONTAL_BREAKPOINTS: ClassVar = [
        (0, "-narrow"),
        (80, "-mid"),
        (110, "-wide"),
        (160, "-roomy"),
    ]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (30, "-tall")]
    TITLE = "lmchat"
    AUTO_FOCUS = None

    def __init__(
        self,
        left: Widget | None = None,
        right: Widget | None = None,
        last: Widget | None = None,
        *,
        screen: Callable[[], Screen] | None = None,
        theme: str = "lmchat-dark",
        is_ascii: bool = False,
        before: Callable[[Host], None] | None = None,
    ) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.last = last
        self.commands: list[str] = []  # ids of those whose keys were pressed
        self.first_screen = screen
        self.before = before
        self.facts: list[Message] = []
        self.results: list[object] = []
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme
        self.animation_level = "none"
        self.ascii_filters = ascii_filters(is_ascii=is_ascii)

    def get_line_filters(self):
        return [*super().get_line_filters(), *self.ascii_filters]

    def action_run(self, command_id: str) -> None:
        self.commands.append(command_id)

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            yield from self._given(self.left)
            yield Vertical(id="chat")
            yield from self._given(self.right)
        yield from self._given(self.last)

    @staticmethod
    def _given(widget: Widget | None) -> Iterable[Widget]:
        return () if widget is None else (widget,)

    def on_mount(self) -> None:
        self.screen.query_one("#chat").styles.width = "1fr"
        if self.first_screen is not None:
            self.push_screen(self.first_screen(), self.results.append)
        if self.before is not None:
            self.call_later(self.before, self)

    async def _on_message(self, message: Message) -> None:
        if type(message).__module__.startswith("lmchat."):
            self.facts.append(message)
        await super()._on_message(message)

    def of(self, kind: type) -> list:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@asynccontextmanager
async def drawn(
    app: App[None], size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[App[None], pilot.Pilot[None]]]:
    """Run an app, from when it is drawn."""
    async with app.run_test(size=size) as its_pilot:
        await its_pilot.pause()
        yield app, its_pilot


def confirm(app: App[None]) -> None:
    """Answer a question with its key, as late after its opening as it wants."""
    dialog = app.screen
    key = dialog.hints[0][0].lower()
    event = events.Key(key, None)
    event.time = dialog.ready_s
    event.set_sender(app)
    app._driver.send_message(event)


def text_of(widget: Widget) -> str:
    return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.outer_size.region))


def screen_text(app: App) -> str:
    width, height = app.size
    visible_screen_stack.set(
        app._background_screens
    )  # else a dialog is drawn, and kept, without the chat
    app.screen._refresh_layout()  # a changed note may still wait for its new width
    lines = app.screen._compositor.render_strips()
    text = "\n".join(strip.text.rstrip() for strip in lines[:height]) if width else ""
    return text.replace("\u00a0", " ")


_KEYS = {"\t": "tab", "\r": "enter"}


async def type_at_once(app: App[None], text: str) -> None:
    """Post all keys before the app has a turn, as one read of the terminal does."""
    for char in text:
        app.post_message(events.Key(_KEYS.get(char, char), None if char in _KEYS else char))


class ChatLike(Screen[None]):
    BINDINGS = bindings(Scope.CHAT)
    AUTO_FOCUS = "PromptInput"

    def compose(self) -> ComposeResult:
        yield Vertical(id="log")
        yield PromptArea({})


class PromptApp(Host):
    CSS_PATH: ClassVar = [*Host.CSS_PATH, _FOLDER / "prompt.tcss"]
    CSS = "#log { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__(screen=ChatLike)

    @property
    def prompt_area(self) -> PromptArea:
        return self.screen.query_one(PromptArea)


STEP_S = _wait.SLEEP_GRANULARITY
_IDLE_S = _wait.SLEEP_IDLE
_LOOK_S = 0.002  # so often is looked whether a thread is still at work
_at_work: weakref.WeakSet[thread._WorkItem] = weakref.WeakSet()
_of_others: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


async def wait_for_idle(min_sleep: float = STEP_S, max_sleep: float = 1) -> None:
    """Wait as Textual's function of this name does, but sleep through nothing."""
    loop = asyncio.get_running_loop()
    start_s = time.monotonic()
    while True:
        used_s = time.process_time()
        end_s = time.monotonic() + STEP_S
        is_starved = False
        while (left_s := end_s - time.monotonic()) > 0:
            pause_s = _pause_s(loop, left_s)
            if pause_s is None:
                return
            started_s = time.monotonic()
            await asyncio.sleep(pause_s)
            # a busy machine may have given no time to what is ready or due
            is_starved |= time.monotonic() - started_s > pause_s + STEP_S / 2
        passed_s = time.monotonic() - start_s
        is_idle = not is_starved and time.process_time() - used_s < _IDLE_S
        if passed_s >= max_sleep or (passed_s > min_sleep and is_idle):
            return


_parsed: dict[tuple, list[RuleSet]] = {}
_colours: dict[frozenset, int] = {}
_latest: list[tuple[dict[str, str], int]] = [({}, 0)]  # colours that a sheet had, and their number


def parse_once(
    sheet: Stylesheet, css: str, *origin, _parse=Stylesheet._parse_rules, **more: object
) -> list[RuleSet]:
    """Parse the same rules with the same colours once for all apps: a tenth of the work of their tests."""
    colours = sheet._variables  # replaced as a whole
    if colours is not _latest[0][0]:
        _latest[0] = colours, _colours.setdefault(frozenset(colours.items()), len(_colours))
    key = css, origin, *more.items(), _latest[0][1]
    if key not in _parsed:
        _parsed[key] = _parse(sheet, css, *origin, **more)
    return _parsed[key]


_counted: dict[tuple[CodeType, bool], int] = {}


def count_once(function: Callable[..., object], _count=_callback._count_parameters) -> int:
    """Count the parameters of a callback by its code: Textual asks for its signature each time."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        return _count(function)
    key = code, hasattr(function, "__self__")
    if key not in _counted:
        _counted[key] = _count(function)
    return _counted[key]


def _take_as_painted(
    compositor: Compositor, *, full: bool = False, _paint=Compositor.render_update, **more: object
) -> object:
    if full:  # for a picture
        return _paint(compositor, full=True, **more)
    compositor._dirty_regions.clear()
    return None


@contextmanager
def unpainted() -> Iterator[None]:
    """Render what a test looks at, when it looks, instead of each frame: nearly half of an app's start."""
    with patch.object(Compositor, "render_update", _take_as_painted):
        yield


@contextmanager
def painted(_paint=Compositor.render_update) -> Iterator[None]:
    """Render each frame of an unpainted app, as for a terminal."""
    with patch.object(Compositor, "render_update", _paint):
        yield


@contextmanager
def shortened() -> Iterator[None]:
    """Let pilots wait so, know what threads of pools are at, and parse styles once."""
    made = thread._WorkItem.__init__

    def noted(item, *values, **more) -> None:
        made(item, *values, **more)
        _at_work.add(item)  # until its thread lets go of it: when it is done, and the loop was told

    with (
        patch.object(thread._WorkItem, "__init__", noted),
        patch.object(app, "wait_for_idle", wait_for_idle),
        patch.object(pilot, "wait_for_idle", wait_for_idle),
        patch.object(Stylesheet, "_parse_rules", parse_once),
        patch.object(_callback, "_count_parameters", count_once),
        # of the same identity, without `id()`, for which Python calls the guard of the network
        patch.object(RuleSet, "__hash__", object.__hash__),
    ):
        yield


def pass_over_others() -> None:
    """Take all threads that run now for those of other tests: they know nothing of the loop that starts."""
    _of_others.update(threading.enumerate())


def can_be_woken(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether somebody else than a timer or a thread of a pool may wake the loop."""
    if not hasattr(loop._selector, "get_map"):  # Windows, whose loop keeps no list of them
        return True
    own_pipe = 1
    return len(loop._selector.get_map()) > own_pipe or any(
        getattr(one, "_target", None) is not thread._worker
        for one in threading.enumerate()
        if one is not threading.main_thread() and one not in _of_others
    )


def is_at_work() -> bool:
    return bool(_at_work)


def _pause_s(loop: asyncio.AbstractEventLoop, left_s: float) -> float | None:
    """Return how long to sleep until the next look; None if nothing will happen."""
    if loop._ready:
        return 0.0
    if can_be_woken(loop):
        return left_s
    due_s = (
        min((one.when() for one in loop._scheduled if not one.cancelled()), default=math.inf)
        - loop.time()
    )
    if is_at_work():
        return max(min(left_s, due_s, _LOOK_S), 0.0)
    return max(min(left_s, due_s), 0.0) if due_s <= STEP_S else None
