"""The only way to the network. For programs: `from lmchat.proxy import Client`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

PLACES = {
    "lmchat.proxy.api": (
        *("Answer", "Client", "ClientOptions", "JsonAnswer", "Messages", "Options", "SyncClient"),
    ),
    "lmchat.config.settings": ("LimitSettings", "TimeoutSettings"),
    "lmchat.domain.server": ("Candidate", "Endpoint", "LoadState", "ModelInfo", "Product", "Verdict"),
    "lmchat.domain.message": (
        *("AnswerState", "ChatMessage", "Failure", "Limit", "Part", "Receipt", "Role"),
        *("ReasoningPart", "RefusalPart", "TextPart", "ToolCallPart"),
    ),
    "lmchat.domain.telemetry": ("Metrics",),
    "lmchat.domain.event": (
        *("LifeSign", "ModelLoading", "ModelNamed", "PromptProgress", "ReasoningDelta", "RefusalDelta"),
        *("RequestAdapted", "RequestQueued", "RequestSent", "Rethought", "RetryScheduled", "StreamEvent"),
        *("StreamFinished", "StreamStalled", "TextDelta", "ToolCallDelta", "UsageReported"),
    ),
    "lmchat.errors": (
        *("AnswerUnfit", "BodyTooLarge", "EndpointNotAllowed", "LMChatError", "NoServerFound"),
        *("RequestInvalid", "ServerRejected", "ServerUnavailable", "StreamInterrupted"),
        *("TooManyRequests", "WrongUse"),
    ),
}
"""Public names by the module that holds them; nothing is imported before a name is asked for."""
_MODULES = {name: module for module, names in PLACES.items() for name in names}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
