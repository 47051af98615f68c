"""What is wrong on this machine, and the next step: functions that return rows.

Must not know: a front end. A check changes nothing.
"""

from __future__ import annotations
