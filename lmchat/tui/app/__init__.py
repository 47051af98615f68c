"""The app, its way to a server, and the model in use."""

from __future__ import annotations
