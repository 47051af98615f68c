"""Parts that only use the rest; each can be taken out of a build with its folder of tests.

`base/leaf.py` finds them by name. None imports another.
"""

from __future__ import annotations
