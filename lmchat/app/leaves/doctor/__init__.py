"""Checks of this machine, which return rows: what they have found, and the next step.

Must not know: a front end. A check changes nothing.
"""

from __future__ import annotations
