"""Markdown as lines of a terminal."""
