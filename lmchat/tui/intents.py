"""Requests: what a screen, a dialog or an input wants done that is not its own to do."""

from __future__ import annotations

from textual.message import Message

from lmchat.domain.server import Candidate, Endpoint, ModelInfo
from lmchat.domain.session import SearchHit
from lmchat.errors import LMChatError
from lmchat.tui.messages import Post


class LookNow(Post):
    """Look at the server now."""


class CopyText(Post):
    """Put text on the clipboard and tell the way it took."""

    text: str
    """What to copy."""
    note: str = ""
    """What of a message it is, as `Block 2 of 3`."""


class RememberPanels(Post):
    """Keep which panels are shown."""

    has_sessions: bool
    """The list of sessions."""
    has_telemetry: bool
    """The telemetry."""


class AnswerEnded(Post):
    """A turn has ended; the app tells who looks elsewhere, and looks at the server after a failure."""

    elapsed_s: float
    """How long it took."""
    has_failed: bool
    """Whether it ended in an error."""


class LoadModel(Post):
    """Load a model, or unload it if it is loaded."""

    model: ModelInfo
    """Which."""


class StartEngine(Post):
    """Start the built-in engine, after asking for whatever it lacks."""

    named: str = ""
    """The model to serve, by its file or as it is listed; empty: the best one here, or one to be fetched."""


class RefreshModels(Post):
    """Fetch all lists of models anew."""


class TryAddress(Post):
    """Look at an address that was typed; it can be parsed, and may still not be allowed."""

    text: str
    """As typed."""


class ChooseCandidate(Post):
    """Go on with a server that was looked at, for example one that wants a key."""

    candidate: Candidate
    """Which."""


class StartFailed(Post):
    """What was started for the user has ended without having been asked to."""

    endpoint: Endpoint
    """Where its server would have answered."""
    error: LMChatError
    """What it ended with."""


class TryKey(Post):
    """Try a key before it is kept."""

    key: str
    """The key."""


class SearchSessions(Post):
    """Open the search of all sessions."""


class Search(Post):
    """Search all words of all sessions; the newest replaces earlier ones."""

    query: str
    """What was typed."""
    limit: int = 20
    """How many hits are wanted."""

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, Search)


class FindWords(Post):
    """Mark words in the session that is shown."""

    query: str
    """Which; empty for none."""
    is_typed: bool = True
    """Whether the first of them is to be shown, too."""

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, FindWords)


class FindNext(Post):
    """Show the next or previous hit."""

    by: int
    """1 or -1."""


class ReadHit(Post):
    """Give the focus to the message of the hit that is shown."""


class StopFinding(Post):
    """Mark nothing any more."""


class FilterSessions(Post):
    """List the sessions whose title holds these words."""

    words: str
    """As typed; empty for all."""


class TakeFiltered(Post):
    """Open what the filter has left over."""


class LeaveFilter(Post):
    """Go from the filter to the list."""

    is_kept: bool
    """Whether the filter stays as it is."""


class ExportHit(Post):
    """Export the session of a hit."""

    hit: SearchHit
    """Which hit."""
