"""The recipes of `docs/scripts.md`, run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import sys
import tomllib
from contextlib import closing

import httpx
import pytest

from tests.support.files_to_attach import image
from tests.support.programs import run
from tests.support.recipes import Shell, recipe
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp, model_list, plain
from tests.support.scripted_server import DONE, Seen, delta, finish, json_reply, sse
from tests.support.serving import serving

MODEL = "qwen3-8b"
ADDRESS = "http://127.0.0.1:8642"


@pytest.fixture
def shell(tmp_path, server):
    return Shell(tmp_path, server.url)


def prompt_of(seen: Seen) -> str:
    return seen.json["messages"][-1]["content"]


def test_mails_are_sorted_by_what_they_are_about(shell, server):
    def play(seen: Seen):
        if "broken" in prompt_of(seen):
            return json_reply({"error": {"message": "no memory left"}}, status=500)
        topic = "order" if "tomatoes" in prompt_of(seen) else "bill"
        (line,) = [line for line in prompt_of(seen).splitlines() if line.endswith(f": {topic}")]
        chunk = delta(line[0])
        chunk["choices"][0]["logprobs"] = {"content": [{"token": line[0], "logprob": 0.0}]}
        return sse(chunk, finish("length"), DONE)

    llama_cpp(server)
    server.on(CHAT, play)
    (shell.folder / "mails").mkdir()
    for name, text in {"a b": "Two tomatoes, please.", "c": "Please pay.", "d": "broken"}.items():
        (shell.folder / "mails" / f"{name}.txt").write_text(text)
    done = shell(recipe("## Sort mails into folders"))
    assert done.returncode == 0, done
    assert shell.names("order") == {"a b.txt"}
    assert shell.names("bill") == {"c.txt"}
    assert shell.names("mails") == {"d.txt"}
    assert "no memory left" in done.stderr


def test_photos_are_named_by_the_answer_and_replace_no_other(shell, server):
    server.on(
        CHAT,
        chat_reply("Ripe tomatoes, ", "sunny!"),
        chat_reply("../../etc/\n-rf Garten ä"),
        chat_reply("Tomatoes"),
        sse(delta("Half")),
    )
    photos = shell.folder / "photos"
    photos.mkdir()
    for name in ("1", "2", "3", "4"):
        (photos / f"{name}.jpg").write_bytes(image("JPEG"))
    (photos / "Tomatoes.jpg").write_bytes(image("JPEG", mode="L"))
    shell(recipe("## Name photos by what they show").replace("photos/*.jpg", "photos/?.jpg"))
    assert shell.names("photos") == {
        *("Ripe-tomatoes-sunny.jpg", "etc-rf-Garten-ä.jpg", "3.jpg", "4.jpg", "Tomatoes.jpg")
    }
    request = server.seen(CHAT)[0]
    assert request.json["messages"][-1]["content"][0]["type"] == "image_url"


def test_two_quantizations_are_compared_on_ten_prompts(shell, server):
    def play(seen: Seen):
        is_odd = prompt_of(seen) == "Prompt 2" and seen.json["model"] == models[0]
        return chat_reply("Something else" if is_odd else "The same", model=seen.json["model"])

    models = ("qwen3-8b-q4_k_m", "qwen3-8b-q8_0")
    plain(server, *models)
    server.on(CHAT, play)
    shell.write(prompts_txt="".join(f"Prompt {number}\n" for number in range(1, 3)))
    done = shell(recipe("## Compare two quantizations on ten prompts"))
    assert done.returncode == 0, done
    first, second, *differences = done.stdout.splitlines()
    assert first.startswith(f"{models[0]}: ")
    assert second.startswith(f"{models[1]}: ")
    assert differences == ["", "Prompt 2:", "1. Something else", "2. The same"]
    assert len(server.seen(CHAT)) == 4


def test_a_saved_answer_is_asked_for_again_at_the_model_that_is_named(shell, server):
    (heading,) = re.findall('"(.+)"', shell("lmchat replay last").stderr)
    shell.write(again_py=recipe(f"## {heading}", "python"))
    again = f"{shlex.quote(sys.executable)} again.py other last {server.url}"
    llama_cpp(server, model="tiny")
    shell("lmchat ask --save --system 'Be brief.' --set top_k=7 Hi </dev/null")
    shell("lmchat ask -r last --set seed=5 'And more' </dev/null")
    llama_cpp(server, model="other").on(CHAT, chat_reply("Hello  there.", model="other"))
    done = shell(again)
    assert (done.returncode, done.stdout, done.stderr) == (0, "'other' gave the same words\n", "")
    _, saved, asked = (seen.json for seen in server.seen(CHAT))
    assert asked == saved | {"model": "other", "cache_prompt": False}
    assert [message["content"] for message in asked["messages"]] == [
        *("Be brief.", "Hi", "Hello there.", "And more")
    ]

    server.on(CHAT, chat_reply("Hello \x1b[2J you.", model="other"))
    done = shell(again)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "'other' differs at word 2: '\\x1b[2J' in place of 'there.'\n"
    done = shell(again.replace("last", "ffff"))
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), done


# as elia 1.10 makes them (its elia_chat/database/models.py)
ELIA = """
CREATE TABLE chat (id INTEGER PRIMARY KEY, model VARCHAR, title VARCHAR, started_at DATETIME,
    archived BOOLEAN);
CREATE TABLE message (id INTEGER PRIMARY KEY, chat_id INTEGER, role VARCHAR, content VARCHAR,
    timestamp DATETIME, meta JSON, parent_id INTEGER, model VARCHAR);
INSERT INTO chat VALUES (1, 'gpt-4o', 'Peas', '2025-11-18 21:06:40', 0), (2, 'gpt-4o', NULL, NULL, 0);
INSERT INTO message VALUES
    (1, 1, 'system', 'Be brief.', '2025-11-18 21:06:40', '{}', NULL, NULL),
    (2, 1, 'user', 'When?', '2025-11-18 21:06:41', '{}', 1, NULL),
    (3, 2, 'user', 'Beans?', NULL, '{}', NULL, NULL),
    (4, 1, 'assistant', 'In May.', '2025-11-18 21:06:43.500000', '{}', 2, 'llama3');
"""


def test_chats_of_a_program_that_lmchat_does_not_know_come_with_titles_models_and_times(shell):
    with closing(sqlite3.connect(shell.folder / "elia.sqlite")) as database:
        database.executescript(ELIA)
    shell.write(elia_py=recipe("## Bring chats of any program along", "python"))
    convert = f"{shlex.quote(sys.executable)} elia.py elia.sqlite | lmchat import -"
    done = shell(convert)
    assert done.returncode == 0, done
    assert shell(convert).stdout.splitlines()[-1] == done.stdout.splitlines()[-1], "none is new"
    peas, _ = done.stdout.splitlines()[-1].split()
    exported = json.loads(shell(f"lmchat export {peas} --format json").stdout)
    session = exported["session"]
    assert (session["title"], session["created_at"]) == ("Peas", "2025-11-18T21:06:40Z")
    assert [(row["role"], row["model"], row["created_at"]) for row in exported["messages"]] == [
        ("system", "", "2025-11-18T21:06:40Z"),
        ("user", "", "2025-11-18T21:06:41Z"),
        ("assistant", "llama3", "2025-11-18T21:06:43.500000Z"),
    ]


@pytest.fixture
def gateway(tmp_path, server):
    """The `lmchat serve` of the page, at a free port."""
    assert recipe("## Use all models from other programs") == "lmchat serve\n"
    server.on("GET /v1/models", model_list(MODEL))
    server.on(CHAT, lambda seen: chat_reply(model=MODEL) if seen.json.get("stream") else WHOLE)
    with serving(tmp_path, url=server.url) as program:
        yield program


WHOLE = json_reply(
    {"choices": [{"message": {"role": "assistant", "content": "Hello there."}}], "model": MODEL}
)


def test_curl_the_openai_package_and_an_editor_ask_through_lmchat_serve(gateway, tmp_path):
    shell = Shell(tmp_path, "")
    done = shell(recipe("### curl").replace(ADDRESS, gateway.url))
    assert (done.returncode, done.stdout) == (0, f"{MODEL}\nHello there.\n"), done

    program = tmp_path / "ask.py"
    program.write_text(recipe("### The openai package", "python").replace(ADDRESS, gateway.url))
    done = run([sys.executable, program], home=tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Hello there.\n"), done

    config = recipe("### A plugin of an editor", "yaml")
    model = dict(re.findall(r"^    (\w+): (.*)$", config, re.MULTILINE))
    assert model["provider"] == "openai"
    reply = httpx.post(
        f"{model['apiBase'].replace(ADDRESS, gateway.url)}/chat/completions",
        headers={"Authorization": f"Bearer {model['apiKey']}"},
        json={
            "model": model["model"],
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
        },
    )
    data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    chunks = [json.loads(line) for line in data if "delta" in line]
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert ("".join(texts), data[-1]) == ("Hello there.", "[DONE]")


def test_codex_and_claude_code_reach_their_paths_through_lmchat_serve(gateway, server):
    config = tomllib.loads(recipe("### Codex", "toml"))
    provider = config["model_providers"][config["model_provider"]]
    line = dict(re.findall(r"(\w+)=(\S+)", recipe("### Claude Code")))
    assert config["model"] == line["ANTHROPIC_MODEL"] == MODEL
    for url, path in (
        (f"{provider['base_url']}/{provider['wire_api']}", "/v1/responses"),
        (f"{line['ANTHROPIC_BASE_URL']}/v1/messages?beta=true", "/v1/messages"),
    ):
        server.on(f"POST {path}", json_reply({"id": "1"}))
        reply = httpx.post(url.replace(ADDRESS, gateway.url), json={"model": MODEL})
        assert reply.json() == {"id": "1"}
