"""Words that are typed while a message has the focus: they belong into the prompt, and run no commands.

Keys that begin, change or open something wait 0.2 s for a second letter. Doing at once and taking back would
be felt less and harm more: `e` and `f` change prompt and session, `r` and `a` cost a request, `o` gives the
terminal away, and what `t` and `l` open takes the next letters for itself, flashing at everyone who types.
The other keys (`y`, `c`, `s`, Enter, `[`, `]`, `u`) act at once: a word that follows is whole in the prompt.
"""

from __future__ import annotations

from typing import Any

from textual import events
from textual.timer import Timer
from textual.widget import Widget

from lmchat.tui.quirks.keys import hand_over, is_together
from lmchat.tui.widgets.chat_log.view.unseen import UnseenLines

WORD_GAP_S = 0.2
"""Letters of one word come closer; a key that would change something waits so long whether one follows."""
_REPEAT_GAP_S = 0.06
"""What comes again in less is a key that is held: terminals repeat it every 20 to 50 ms, fingers take 80."""
_REPEAT_DELAY_S = 1.0
"""The longest time, as keyboards are set, from the press of a key to where it begins to repeat."""
_NAMES = ("edit", "regenerate", "resume", "fork", "delete", "tree", "links", "pager")
HELD = frozenset({*(f"message('{name}')" for name in _NAMES), "select(0)"})
"""Actions that begin, change or open something."""


class TypedOver(UnseenLines, can_focus=True):
    """Keys are commands one by one; as a word, or where no command has them, they go to the prompt."""

    word_gap_s = WORD_GAP_S
    """Nothing waits where it is 0."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.typed_into: Widget | None = None
        """Where words go that are typed or pasted while a message has the focus."""
        self._is_passing_on = False
        self._typed: list[events.Key] = []
        self._held_action = ""
        self._holding: Timer | None = None
        self._is_repeating = False
        self._last_done: events.Key | None = None
        """The last press of the key that was done last."""

    def on_key(self, event: events.Key) -> None:
        """Pass on what is no key of a message: a slash, words, what no command has, and what follows them."""
        focused = self.screen.focused
        if focused is not None and focused is not self:  # typed before the focus had moved
            hand_over(event, focused)
        elif self._is_passing_on and self.typed_into is not None:
            hand_over(event, self.typed_into)
        elif not event.is_printable:
            self._run_held()
        elif event.key == "slash" or is_together(event) or self._is_in_word(event):
            self._pass_on(event)
        else:
            self._take_alone(event)

    def on_paste(self, event: events.Paste) -> None:
        """Pass a paste on."""
        self._pass_on(event)

    def _is_in_word(self, event: events.Key) -> bool:
        """Whether a key follows another one as letters of a word do."""
        is_of_word = event.key == "space" or bool(event.character and event.character.isalpha())
        return is_of_word and any(event.key != last.key for last in self._just_typed(event))

    def _just_typed(self, event: events.Key) -> list[events.Key]:
        """Return what came right before a key: the one before it, and that one again."""
        is_near = self._typed and event.time - self._typed[-1].time <= self.word_gap_s
        return self._typed if is_near else []

    def _take_alone(self, event: events.Key) -> None:
        """Let a key be a command: at once, or when no letter has followed; or pass on what is none."""
        if self._held_action and any(event.key == last.key for last in self._just_typed(event)):
            self._hold_on(event)
            return
        self._run_held()
        active = self.screen.active_bindings.get(event.key)
        if active is None:
            if event.key != "space":
                self._pass_on(event)
            return
        self._typed = [event]
        if self.word_gap_s and self._is_held(active.binding.action):
            self._typed = []
            self._held_action = active.binding.action
            self._hold_on(event)

    def _hold_on(self, event: events.Key) -> None:
        """Wait for what follows a key; pressed again at once it is no second command: `dd` deletes once."""
        event.stop()
        event.prevent_default()
        self._is_repeating |= bool(self._typed) and event.time - self._typed[-1].time < _REPEAT_GAP_S
        self._typed.append(event)
        if self._holding is not None:
            self._holding.stop()
        self._holding = self.set_timer(self.word_gap_s, self._run_held)

    def _is_held(self, action: str) -> bool:
        """Whether an action waits; one that goes from hit to hit does so only while nothing is marked."""
        return action in HELD or (action.startswith("hit(") and not self.finder.is_active)

    def _run_held(self) -> None:
        """Do what waited; a key that is still held since it was done is no second press."""
        pressed, is_repeating = self._typed, self._is_repeating
        action = self._forget_typed()
        if not action:
            return
        is_done = is_repeating and self._is_after_done(pressed[0])
        self._last_done = pressed[-1]
        if not is_done:
            self.call_later(self.app.run_action, action, self)

    def _is_after_done(self, event: events.Key) -> bool:
        """Whether a key comes so soon after it was done that it may have been held all the time."""
        last = self._last_done
        return last is not None and last.key == event.key and event.time - last.time <= _REPEAT_DELAY_S

    def _forget_typed(self) -> str:
        action, self._held_action, self._typed = self._held_action, "", []
        self._is_repeating = False
        if self._holding is not None:
            self._holding.stop()
            self._holding = None
        return action

    def _pass_on(self, event: events.Key | events.Paste) -> None:
        typed = self._just_typed(event) if isinstance(event, events.Key) else []
        self._forget_typed()
        if self.typed_into is not None:
            for earlier in typed:
                hand_over(earlier, self.typed_into)
            hand_over(event, self.typed_into)
            self._is_passing_on = True
            self.call_later(self._follow_words)  # behind the keys that have come with this one

    def _follow_words(self) -> None:
        self._is_passing_on = False
        if self.typed_into is not None:
            self.typed_into.focus()
