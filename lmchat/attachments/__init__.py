"""What can go with a prompt: pages, output of shell commands.

Must not know: prompt or screen.
"""

from __future__ import annotations
