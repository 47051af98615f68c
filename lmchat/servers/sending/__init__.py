"""The way of a request to a server: checks, slot, form, attempts, reply."""

from __future__ import annotations
