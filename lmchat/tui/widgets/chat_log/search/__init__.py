"""Hits of a search: counted in the source, marked in what is laid out."""

from __future__ import annotations
