from __future__ import annotations

import pytest

from tests.support.programs import Inside as Cli

DIGITS = " ".join(str(number) for number in range(100, 122))
"""A text of many more tokens than its letters let expect."""


@pytest.mark.timeout(120)  # four programs, each with a prompt that fills the window of a real model
def test_a_session_that_fills_the_window_of_the_real_server_goes_on_after_each_restart(
    tmp_path, start_real_server
):
    cli = Cli(home=tmp_path, url=start_real_server(ctx=256).url)
    cli.configure("[chat]\ntemperature = 0.0\nmax_tokens = 16\n")
    done = [cli("ask", "--save", f"Keep these: {DIGITS}")]
    done += [cli("ask", "-r", "last", f"And {number}: {DIGITS}") for number in range(3)]
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert done[-1].stderr.count("left out") == 1
