"""lmchat on a disk that is full: no file can grow beyond so many bytes.

`python -m tests.support.limited_screen BYTES` takes further arguments as `lmchat` does.
"""

from __future__ import annotations

import resource
import sys

from lmchat.cli.main import main

if __name__ == "__main__":
    largest = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.exit(main(sys.argv[2:]))
