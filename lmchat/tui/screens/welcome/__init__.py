"""The page for a machine where no model server answers yet."""

from __future__ import annotations
