"""What other programs read stays as it is: exports, lists and stats as an earlier lmchat wrote them.

The files in `data/golden` are not changed. What differs in each run, such as times, has a fixed word.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from lmchat.app.tui.dialogs.report_texts import details
from lmchat.core.config.state import State, change_state
from lmchat.core.formats.json_sessions import from_json
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp, router
from tests.support.scripted_server import DONE, delta, finish, sse, usage

Cli = Inside

FOLDER = Path(__file__).parent / "data" / "golden"
_VARYING = (
    (
        r'("(?:ttft_ms|elapsed_ms|load_s|averageResponseTime|seed)": )(?:\d[\d.]*|\{[^}]*\})',
        r'\1"MEASURED"',
    ),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)", "MOMENT"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r'"[0-9a-f]{16}"', '"ID"'),
    (r"http://localhost:\d+", "SERVER"),
)
ARGUMENTS = ("--set", "temperature=0.5", "--set", "top_k=3")
CASES = '[[case]]\nname = "greets"\nprompt = "Hi"\nexpect = "hello"\n\n[[case]]\nprompt = "Bye"\nreject = "there"\n'


def fixed(text: str) -> str:
    """Return an output with a word in place of each value that differs from run to run."""
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return text


def exports(cli) -> dict[str, str]:
    """Import a session with all that one can have; return it in each format, and the lists."""
    (given,) = FOLDER.glob("session.json")
    assert cli("import", str(given)).returncode == 0
    found = {"session.json": cli("export", "last", "--format", "json").stdout}
    for form in ("md", "txt", "html"):
        shown = cli("export", "last", "--format", form, "--reasoning", "--branches")
        found[f"session.{form}"] = shown.stdout
    found["sessions.json"] = cli("sessions", "--json").stdout
    found["sessions.txt"] = cli("sessions").stdout
    found["search.json"] = cli("search", "lettuce", "--json").stdout
    messages = from_json(json.loads(given.read_text())).tree
    answers = [message for message in messages if message.stats or message.failure]
    found["details.txt"] = "\n\n\n".join(details(answer, 92).plain for answer in answers) + "\n"
    return found


def answers(cli, server) -> dict[str, str]:
    """Ask a server that tells its speed; return the answers and stats as JSON."""
    timings = {"predicted_per_second": 42.0, "prompt_per_second": 300.0, "cache_n": 2}
    end = finish() | {"timings": timings}
    thought = delta(reasoning_content="They greet.")
    reply = sse(thought, "Hello", " there.", end, usage(), DONE)
    router(server).on(CHAT, reply)
    cases = cli.home / "cases.toml"
    cases.write_text(CASES)
    models = ("-m", "small", "-m", "large")
    found = {
        "ask.json": cli("ask", "-m", "small", "--save", *ARGUMENTS, "--json", "Hi").stdout,
        "stats.json": cli("stats", "--json").stdout,
        "compare.json": cli("compare", *models, *ARGUMENTS, "--json", "Hi").stdout,
        "eval.json": cli("eval", str(cases), *models, "--runs", "2", "--json").stdout,
        "batch.jsonl": cli("batch", "--text", "-m", "small", stdin="Hi\n").stdout,
        "metrics.json": cli("metrics").stdout,
    }
    llama_cpp(server).on(CHAT, spam)
    found["decide.json"] = cli("decide", "Is it spam?", "--json").stdout
    return {name: fixed(text) for name, text in found.items()}


def spam(seen):
    """Choose "yes" with 80 %, whichever label it has."""
    yes, no = "AB" if "A: yes" in seen.json["messages"][-1]["content"] else "BA"
    top = [{"token": token, "logprob": math.log(share)} for token, share in ((yes, 0.8), (no, 0.2))]
    first = delta(yes)
    first["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return sse(first, finish("length"), DONE)


def state(folder: Path) -> dict[str, str]:
    """Remember all that can be remembered; return the file."""
    chosen = State(theme="lmchat-light", has_sessions=False, allowed_tools={'python/"x': "cd34"})
    chosen = chosen.with_model("http://a:1", "m1").with_model("http://b:2", 'm"2', is_remote=True)
    change_state(folder / "state.toml", lambda _: chosen)
    return {"state.toml": (folder / "state.toml").read_text()}


def test_exports_lists_stats_and_the_remembered_state_are_the_same_to_the_byte(
    cli, server, tmp_path
):
    found = exports(cli) | answers(cli, server) | state(tmp_path)
    assert {*found} == {file.name for file in FOLDER.iterdir()}
    for name, text in found.items():
        assert text == (FOLDER / name).read_text(), name
