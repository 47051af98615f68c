"""Requests to the app: what a screen or dialog wants done that is not its own to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from textual.message import Message

from lmchat.domain.server import Candidate, ModelInfo
from lmchat.domain.session import SearchHit


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


@dataclass
class LoadModel(Message):
    """Load a model, or unload it if it is loaded."""

    model: ModelInfo
    """Which."""


@dataclass
class RefreshModels(Message):
    """Fetch all lists of models anew."""


@dataclass
class TryAddress(Message):
    """Look at an address that was typed; it can be parsed, and may still not be allowed."""

    text: str
    """As typed."""


@dataclass
class ChooseCandidate(Message):
    """Go on with a server that was looked at, for example one that wants a key."""

    candidate: Candidate
    """Which."""


@dataclass
class TryKey(Message):
    """Try a key before it is kept."""

    key: str = field(repr=False)
    """The key."""


@dataclass
class SearchSessions(Message):
    """Open the search of all sessions."""


@dataclass
class Search(Message):
    """Search all words of all sessions; the newest replaces earlier ones."""

    query: str
    """What was typed."""

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, Search)


@dataclass
class ExportHit(Message):
    """Export the session of a hit."""

    hit: SearchHit
    """Which hit."""
