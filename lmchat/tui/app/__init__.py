"""The app, from what it knows of models up to themes and the way out."""

from __future__ import annotations
