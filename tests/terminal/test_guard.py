"""The watch over signals, on its own thread."""

from __future__ import annotations

import os
import signal
import threading

from lmchat.terminal.output import SignalGuard


def test_a_key_counts_as_it_was_pressed_however_late_the_thread_comes_to_it():
    ended = threading.Event()
    # its thread outlives this test; with less patience it would end the process of all tests after a minute
    never_s = threading.TIMEOUT_MAX
    guard = SignalGuard(give_back=lambda: None, ask=lambda _: ended.set(), patience_s=never_s)
    pipe = guard._pipe = os.pipe()  # watched without the signals of this process
    try:
        guard.lend(is_lent=True)
        guard._on_signal(signal.SIGINT, None)  # of the editor
        guard.lend(is_lent=False)
        threading.Thread(target=guard._wait, daemon=True).start()  # all of it lies in the pipe already
        guard._on_signal(signal.SIGQUIT, None)  # ours
        assert ended.wait(10)
        assert guard.ended_by == signal.SIGQUIT
    finally:
        guard._pipe = None
        os.close(pipe[1])
