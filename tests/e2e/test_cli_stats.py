from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.support.programs import Inside
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, model_list
from tests.support.scripted_server import DONE, delta, finish, json_reply, sse, usage

Cli = Inside


def told(*texts: str, model: str = "tiny"):
    """Make an answer whose speed the server tells."""
    end = finish(model=model) | {
        "timings": {"predicted_per_second": 42.0, "prompt_per_second": 300.0}
    }
    return sse(*(delta(text, model=model) for text in texts), end, usage(model=model), DONE)


def test_each_turn_stands_in_the_figures_of_its_model_and_no_word_of_it(cli, server):
    server.on("GET /v1/models", model_list("tiny", "other"))
    server.on(CHAT, told("marked-words"))
    assert cli("ask", "-m", "tiny", "marked-words").returncode == 0
    server.on(CHAT, json_reply({"error": {"message": "marked-words"}}, status=500))
    assert cli("ask", "-m", "tiny", "marked-words").returncode == 1
    server.on(CHAT, told("marked-words", model="other"))
    assert cli("ask", "-m", "other", "marked-words").returncode == 0
    other, tiny = cli.json("stats", "--json")["data"]
    assert (other["model"], tiny["model"], tiny["endpoint"]) == ("other", "tiny", server.url)
    assert (other["turns"], tiny["turns"], tiny["complete"]) == (1, 2, 1)
    assert 0 < tiny["ttft_ms"]["p50"] <= tiny["elapsed_ms"]["p95"]
    assert sum(day["turns"] for day in tiny["days"]) == 2
    done = cli("stats")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["MODEL", "other", "tiny"]
    assert "50 %" in done.stdout
    plot = cli("stats", "--plot").stdout
    assert plot.count("tok/s, the median of each day") == 2
    assert "#" in plot
    with PtyProgram(cli.argv("stats"), home=cli.home, size=(60, 24)) as program:
        assert program.wait_exit() == 0
        assert [len(line) for line in program.screen() if line.endswith("…")] == [60] * 3
    assert "marked-words" not in done.stdout + plot + cli("stats", "--json").stdout


def test_a_hostile_name_cannot_paint_and_a_damaged_row_costs_itself_alone(cli):
    assert cli("ask", "-m", "tiny", "Hello").returncode == 0
    with closing(sqlite3.connect(cli.folder / "sessions.db")) as connection, connection:
        connection.execute("update ledger set model = ?", ("evil\x1b[2J\x1b]0;title\x07\u202e\n",))
    for words in (("stats",), ("stats", "--plot"), ("stats", "--json")):
        out = cli(*words).stdout
        assert "evil" in out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
    with closing(sqlite3.connect(cli.folder / "sessions.db")) as connection, connection:
        connection.execute("update ledger set created_at = 'yesterday', ttft_ms = 'soon'")
    assert cli("ask", "-m", "tiny", "Hello").returncode == 0
    assert cli.json("stats", "--json")["data"][0]["turns"] == 1


def test_what_is_refused_unsent_is_counted_and_logged_without_a_word_of_it(cli, server):
    cli.configure("[limits]\nmax_body_mb = 0.001\n")
    assert cli("ask", "-m", "tiny", "marked-words " * 200, "--log-level", "info").returncode == 2
    assert server.seen(CHAT) == []
    assert cli.json("metrics")["refusedRequests"] == 1
    log = (cli.folder / "lmchat.log").read_text()
    assert "chat request refused: too_large" in log
    assert "marked-words" not in log
