"""Messages of lmchat: their base class, and the requests from screens, dialogs and inputs."""

from __future__ import annotations

from inspect import get_annotations
from typing import Any, ClassVar, dataclass_transform

from textual.message import Message

from lmchat.domain.server import Candidate, Endpoint, ModelInfo
from lmchat.errors import LMChatError


@dataclass_transform()
class Post(Message):
    """Message whose annotated attributes are its arguments.

    A dataclass takes 0.2 ms to define, and its `repr`, which may get into a log, has the values.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._names = (*cls._names, *get_annotations(cls))

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        self.__dict__.update(zip(self._names, values, strict=False), **named)


class LookNow(Post):
    """Check the server now."""


class LoadModel(Post):
    """Load a model, or unload it if it is loaded."""

    model: ModelInfo


class StartEngine(Post):
    """Start the built-in engine with a named model file, else the best one."""

    named: str = ""


class RefreshModels(Post):
    """Fetch all lists of models again."""


class TryAddress(Post):
    """Probe an address that was typed."""

    text: str


class ChooseCandidate(Post):
    """Continue with a probed server."""

    candidate: Candidate


class StartFailed(Post):
    """A started server ended unexpectedly."""

    endpoint: Endpoint
    error: LMChatError


class TryKey(Post):
    """Try a key before it is saved."""

    key: str


class SearchSessions(Post):
    """Open the search of all sessions."""


class LeaveFilter(Post):
    """Move from the filter to the list."""

    is_kept: bool
