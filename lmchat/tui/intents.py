"""Requests to the app: what a screen or dialog wants done that is not its own to do."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmchat.domain.server import ModelInfo


@dataclass
class PickModel(Message):
    """Open the model picker."""


@dataclass
class SwitchModel(Message):
    """Use this model from the next turn on."""

    model: ModelInfo
    """The model."""


@dataclass
class SwitchRecent(Message):
    """Use one of the recently used models."""

    number: int
    """Counted from 1, newest first."""


@dataclass
class LookNow(Message):
    """Look at the server now."""


@dataclass
class CopyText(Message):
    """Put text on the clipboard and tell the way it took."""

    text: str
    """What to copy."""


@dataclass
class RememberPanels(Message):
    """Keep which panels are shown."""

    has_sessions: bool
    """The list of sessions."""
    has_telemetry: bool
    """The telemetry."""


@dataclass
class ChangeTheme(Message):
    """Use another theme."""

    name: str = ""
    """Its name; empty takes the next one."""


@dataclass
class AnswerEnded(Message):
    """A turn has ended; the app tells who looks elsewhere, and looks at the server after a failure."""

    elapsed_s: float
    """How long it took."""
    has_failed: bool
    """Whether it ended in an error."""
