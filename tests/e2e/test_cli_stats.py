from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support import programs
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, model_list
from tests.support.scripted_server import DONE, delta, finish, json_reply, sse, usage

Cli = Inside

FROZEN = Path(__file__).parent / "data" / "ledger"
"""What an earlier lmchat made of `ledger`; these files are not changed."""
MODELS = (
    ("tiny", "http://localhost:8080"),
    ("tiny", "http://localhost:1234"),
    ("größer/30b-instruct", "https://models.example.com/v1"),
    (b"lone-\xed\xa0\x80", "http://localhost:1234"),
    ("unmeasured", "http://[::1]:8080"),
)
DAMAGE = (
    {"created_at": "yesterday"},
    {"ttft_ms": "soon"},
    {"elapsed_ms": b"\x00\xff"},
    {"tokens_per_second": "fast"},
    {"completion_tokens": "many"},
    {"stalls": "two"},
    {"prompt_tokens": b"a dozen"},
    {"wait_ms": "a while"},
)


def ledger():
    """Make rows with all that occurs: they end around midnight and a change of the clocks in Berlin."""
    drawn = random.Random(69)  # noqa: S311
    moment = datetime(2026, 10, 22, 20, 30, tzinfo=UTC)
    for number in range(200):

        def known(share: float, value: float) -> float | None:
            return None if drawn.random() > share else value

        model, endpoint = MODELS[int(drawn.random() ** 2 * len(MODELS))]
        is_measured = model != "unmeasured"
        steps = (0, 1, 700, 3000, 9000, -400) if number % 40 else (90_000,)
        moment += timedelta(
            seconds=steps[int(drawn.random() * len(steps))], microseconds=number % 3
        )
        states = ("complete", "complete", "complete", "failed", "stopped", "interrupted")
        row = {
            "created_at": moment.isoformat(timespec="microseconds"),
            "message_id": f"{number:032x}",
            "endpoint": endpoint,
            "product": ("llama.cpp", "LM Studio", "")[number // 80],
            "model": model,
            "quantization": "Q4_K_M" if number % 3 else "",
            "state": states[int(drawn.random() * len(states))],
            "ttft_ms": known(0.8 * is_measured, drawn.random() * 3000),
            "prompt_tokens_per_second": known(0.4 * is_measured, drawn.random() * 900),
            "tokens_per_second": known(0.7 * is_measured, int(drawn.random() * 12) * 10.5),
            "prompt_tokens": known(0.6, int(drawn.random() * 5000)),
            "completion_tokens": known(0.7, int(drawn.random() * 900)),
            "is_estimated": int(endpoint.endswith("1234")),
            "stalls": int(drawn.random() * 1.1),
            "retries": int(drawn.random() * 1.2) * 2,
            "elapsed_ms": drawn.random() * 20_000,
            "finish_reason": ("stop", "length", "")[number % 3],
            "wait_ms": known(0.5, drawn.random() * 4000),
        }
        yield row | (DAMAGE[number // 25] if number % 25 == 24 else {})


def test_the_stats_of_a_ledger_are_the_same_to_the_byte(tmp_path):
    alone = programs.Cli(home=tmp_path, env={"TZ": "Europe/Berlin"})
    assert alone("stats").returncode == 0
    with closing(sqlite3.connect(alone.folder / "sessions.db")) as connection, connection:
        for row in ledger():
            statement = f"insert into ledger ({', '.join(row)}) values ({'?,' * 17}?)"  # noqa: S608
            connection.execute(statement, tuple(row.values()))
    for name, words in (("json", ("--json",)), ("txt", ())):
        assert alone("stats", *words).stdout == (FROZEN / f"stats.{name}").read_text()


def told(*texts: str, model: str = "tiny"):
    """Make an answer whose speed the server tells."""
    end = finish(model=model) | {
        "timings": {"predicted_per_second": 42.0, "prompt_per_second": 300.0}
    }
    return sse(*(delta(text, model=model) for text in texts), end, usage(model=model), DONE)


def test_each_turn_stands_in_the_stats_of_its_model_and_no_word_of_it(cli, server):
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
    shown = cli("stats").stdout
    _, of_server, *of_models, _ = shown.splitlines()
    assert of_server == server.url.removeprefix("http://")
    assert [line.split()[0] for line in of_models] == ["other", "tiny"]
    assert "marked-words" not in shown + cli("stats", "--json").stdout


def test_a_hostile_name_of_a_model_cannot_paint(cli):
    assert cli("ask", "-m", "tiny", "Hello").returncode == 0
    with closing(sqlite3.connect(cli.folder / "sessions.db")) as connection, connection:
        connection.execute("update ledger set model = ?", ("evil\x1b[2J\x1b]0;title\x07\u202e\n",))
    for words in (("stats",), ("stats", "--json")):
        out = cli(*words).stdout
        assert "evil" in out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_what_is_refused_unsent_is_counted_and_logged_without_a_word_of_it(cli, server):
    cli.configure("[limits]\nmax_body_mb = 0.001\n")
    assert cli("ask", "-m", "tiny", "marked-words " * 200, "--log-level", "info").returncode == 2
    assert server.seen(CHAT) == []
    assert cli.json("metrics")["refusedRequests"] == 1
    log = (cli.folder / "lmchat.log").read_text()
    assert "chat request refused: too_large" in log
    assert "marked-words" not in log
