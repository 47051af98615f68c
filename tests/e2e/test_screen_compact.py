from __future__ import annotations

import re

import pytest

from lmchat.config.settings import COMPACT_PROMPT
from tests.support.lmchat_screen import STEADY, configure, leave, ready_screen, stored

LONG = "Count the beds. " + "garden bed, " * 25


def texts(home) -> list[str]:
    return [message.text for message in stored(home).messages]


@pytest.mark.timeout(240)
def test_a_full_window_of_a_real_server_is_compacted_asked_and_brought_back(
    tmp_path, start_real_server
):
    configure(tmp_path, f"{STEADY}max_tokens = 40\n")
    url = start_real_server(ctx=512).url
    with ready_screen(tmp_path, url) as screen:
        for count in range(1, 4):
            screen.ask(f"{LONG}{count}")
            screen.wait_for(re.compile(rf"ok\s+{count}\b"), timeout_s=60)
            screen.wait_for("answer saved")
        screen.wait_for("/compact makes room")
        before = texts(tmp_path)
        screen.ask("/compact")
        screen.wait_for("A summary takes the place", timeout_s=60)
        screen.wait_gone("/compact makes room")
        asked, summary, *kept = texts(tmp_path)
        assert (asked, kept) == (COMPACT_PROMPT, before[2:])
        assert summary
        screen.ask("How many beds?")
        screen.wait_for("answer saved", timeout_s=60)
        assert texts(tmp_path)[:-1] == [asked, summary, *kept, "How many beds?"]
        leave(screen)
    with ready_screen(tmp_path, url, "-r", "last") as screen:
        screen.type("/tree\r", sees="Tree")
        screen.type("\x1b[H\r")
        screen.wait_until(lambda: texts(tmp_path) == before, "the old branch")
