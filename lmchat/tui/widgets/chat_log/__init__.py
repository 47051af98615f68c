"""The chat log: one scrolling widget that paints lines; messages are data, not widgets."""

from __future__ import annotations

from lmchat.tui.widgets.chat_log.widget import ChatLog

__all__ = ["ChatLog"]
