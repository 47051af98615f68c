"""`lmchat replay`: what it sends again, and what it says of the two answers."""

from __future__ import annotations

import json
import math
from functools import partial

import pytest

from tests.support.programs import Inside, write_tools
from tests.support.scripted_products import CHAT, calling, chat_reply, llama_cpp, plain
from tests.support.scripted_server import (
    DONE,
    Gate,
    ScriptedServer,
    delta,
    finish,
    sse,
    usage,
)

Cli = Inside
PRODUCT = partial(llama_cpp, model="tiny")

STORY = "The garden has a wall of stone, and behind it is a small pond with three old fish in it."


@pytest.fixture
def user(cli):
    """Commands of the user of `cli` to which no server is named."""
    return Inside(home=cli.home)


def token(text, probability, **others):
    """A chunk with a token, its probability and those of others, as llama.cpp sends it."""
    chances = {text: probability, **others}
    top = [{"token": one, "logprob": math.log(chance)} for one, chance in chances.items()]
    chunk = delta(text)
    chunk["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return chunk


def words_of(text):
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def test_a_real_server_repeats_an_answer_and_another_seed_or_model_does_not(
    real, real_server, tmp_path
):
    real.configure("")
    user = Inside(home=tmp_path)
    options = ("cache_prompt=false", "max_tokens=6", "temperature=2")
    cold = tuple(word for option in options for word in ("--set", option))
    real("ask", "--save", "Tell me of a garden.", *cold)
    real("ask", "-r", "last", "And of another one.", *cold, "--set", "logprobs=5")
    done = user("replay", "last:2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("equal: ")

    value = user.json("replay", "last", "--set", "seed=3", "--json", code=1)
    saved = json.loads(user("sessions", "show", "last", "--json").stdout)["messages"][-1]
    assert value["message_id"] == saved["message_id"]
    assert (value["model"], value["endpoint"]) == (real_server.models[0], real_server.url)
    sent = saved["receipt"]["sampling"] | {"seed": 3}
    assert value["sampling"] == sent
    difference = value["difference"]
    assert difference["place"] == "answer"
    assert difference["saved"] != difference["replayed"]
    assert 0 < difference["saved_probability"] <= 1
    assert 0 < difference["replayed_probability"] <= 1

    gone = user("replay", "last", "-m", "qwen3-8b")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr.startswith("lmchat: No server has a model qwen3-8b.\n")
    assert "lmchat replay last -m MODEL --endpoint URL" in gone.stderr


def test_the_request_is_sent_again_with_its_seed_and_without_the_cache(cli, server, user):
    cli("ask", "--save", "--system", "Be brief.", "--set", "top_k=7", "Hello")
    cli.configure("[chat]\ntemperature = 1.5\nsystem_prompt = 'Be long.'\n")
    done = user("replay", "last")
    assert (done.returncode, done.stdout, done.stderr) == (0, "equal: 2 words\n", "")
    saved, again = (seen.json for seen in server.seen(CHAT))
    more = {"cache_prompt": False, "logprobs": True, "top_logprobs": 20}
    assert again == saved | more
    user("replay", "last", "--set", "seed=5", "--set", "cache_prompt=true", "--effort", "none")
    other = server.seen(CHAT)[-1].json
    assert (other["seed"], other["cache_prompt"]) == (5, True)
    assert other["chat_template_kwargs"] == {"enable_thinking": False}


def test_the_first_word_that_differs_is_shown_with_its_probability(cli, server, user):
    saved = [
        token("A", 0.5),
        token(" quick", 0.9),
        token(" fo", 0.4, **{" do": 0.3}),
        token("x", 1),
    ]
    new = [token("A", 0.5), token(" quick", 0.9), token(" do", 0.25), token("g", 1)]
    plain_text = ["A", " quick", " fo", "x"]
    server.on(
        CHAT,
        sse(*saved, finish(), DONE),
        sse(*new, finish(), DONE),
        sse(*new[:2], finish(), DONE),
        sse(*plain_text, finish(), DONE),
        sse(*new[:2], token(" do", 0.25, **{" fo": 0.2, " f": 0.1}), token("g", 1), finish(), DONE),
    )
    cli("ask", "--save", "--set", "logprobs=5", "Hello")
    done = user("replay", "last")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "different at word 3 of the answer, after: A quick",
        "          WORD   PROBABILITY",
        'saved     "fox"  0.40',
        'replayed  "dog"  0.25',
    ]
    value = user.json("replay", "last", "--json", code=1)  # it ends early
    assert not value["equal"]
    assert value["difference"] == {
        "place": "answer",
        "word": 3,
        "after": "A quick",
        "saved": "fox",
        "replayed": None,
        "saved_probability": 0.4,
        "replayed_probability": None,
    }
    cli("ask", "--save", "Hello")  # whose tokens are not saved: the new answer has their chances
    value = user.json("replay", "last", "--json", code=1)["difference"]
    assert (value["saved_probability"], value["replayed_probability"]) == (0.2, 0.25)


def test_without_probabilities_the_words_alone_are_shown_also_blanks(cli, server, user):
    cli("ask", "--save", "Hello")
    for text, lines in {
        "Hello\nthere.": ['saved     "Hello"', 'replayed  "Hello\\n"'],
        "Hello you.\nAnd": ['saved     "there."', 'replayed  "you."'],
        "Hello  there.": ['saved     "there."', 'replayed  ""'],
        f"Hello {70 * '花'}.": ['saved     "there."', f'replayed  "{60 * "花"}"'],
        "Hello": ['saved     "there."', "replayed  (end)"],
        "Hello there. And": ["saved     (end)", 'replayed  "And"'],
        "<think>No</think>Hello there.": ["saved     (end)", 'replayed  "No"'],
    }.items():
        server.on(CHAT, chat_reply(text))
        done = user("replay", "last")
        assert (done.returncode, done.stdout.splitlines()[2:]) == (1, lines)


def test_no_more_is_read_than_decides(cli, server, user):
    never = Gate()
    server.on(CHAT, sse(*words_of(STORY), finish(), DONE))
    cli("ask", "--save", "Hello")
    other = words_of(STORY.replace("wall", "fence"))
    server.on(CHAT, sse(*other[:16], never))
    done = user("replay", "last")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        1,
        "different at word 5 of the answer, after: The garden has a",
    )
    assert server.seen(CHAT)[-1].client_left.wait(5)

    server.on(CHAT, sse(*words_of(STORY), finish("length"), usage(), DONE))
    cli("ask", "--save", "--set", "max_tokens=20", "Hello")
    server.on(CHAT, sse(*words_of(f"{STORY} {STORY}")[:32], never))
    done = user("replay", "last")
    assert (done.returncode, done.stdout) == (
        0,
        "equal: 20 words, as far as the saved answer goes\n",
    )


def test_thoughts_and_calls_are_compared_too(cli, server, user):
    thought = [delta(reasoning_content="So be it.")]
    server.on(CHAT, sse(*thought, *words_of(STORY), finish(), DONE))
    cli("ask", "--save", "Hello")
    assert user("replay", "last").returncode == 0
    server.on(CHAT, sse(delta(reasoning_content="So what."), *words_of(STORY), finish(), DONE))
    first, *_ = user("replay", "last").stdout.splitlines()
    assert first == "different at word 2 of the thought, after: So"

    write_tools(cli, config="[tools.approval]\n'python/add' = 'always'\n")
    call = calling(("python__add", '{"a": 3}'))
    server.on(CHAT, call, chat_reply("It is 5."))
    cli("ask", "--save", "--tools", "Add 3 and 2.")
    offered = server.seen(CHAT)[-1].json["tools"]
    asked = len(server.seen(CHAT))
    server.on(CHAT, call)
    done = user("replay", "last:1")
    assert (done.returncode, "--tools offers them again" in done.stderr) == (0, True)
    assert "tools" not in server.seen(CHAT)[-1].json
    server.on(CHAT, calling(("python__add", '{"a": 4}')))
    value = user.json("replay", "last:1", "--tools", "--json", code=1)
    assert server.seen(CHAT)[-1].json["tools"] == offered
    assert len(server.seen(CHAT)) == asked + 2  # the call has not run
    difference = value["difference"]
    assert (difference["place"], difference["word"]) == ("tool call", 3)
    assert (difference["saved"], difference["replayed"]) == ("3}", "4}")
    server.on(CHAT, chat_reply("It is 5."))
    assert user("replay", "last", "--tools").returncode == 0
    results = [one for one in server.seen(CHAT)[-1].json["messages"] if one["role"] == "tool"]
    assert [one["content"] for one in results] == ["5"]


def test_what_is_not_the_same_is_said(cli, server, user, tmp_path):
    cached, fresh = usage(50), usage(30)
    cached["usage"]["prompt_tokens_details"] = {"cached_tokens": 40}
    first, later = ({"system_fingerprint": build} for build in ("b1000-a", "b1001-b"))
    server.on(
        CHAT,
        sse(delta("Yes") | first, finish(), cached, DONE),
        sse(delta("No") | later, finish(), fresh, DONE),
    )
    (tmp_path / "plan.txt").write_text("carrots")
    cli("ask", "--save", "-f", str(tmp_path / "plan.txt"), "Hello")
    for file in (cli.folder / "attachments").iterdir():
        file.unlink()
    done = user("replay", "last")
    assert done.returncode == 1
    notes = done.stderr.splitlines()
    assert notes[0] == "lmchat: plan.txt (7 B) is missing: the model gets only its name."
    assert notes[1] == "lmchat: The server was build b1000-a, and is b1001-b now."
    assert notes[2].startswith("lmchat: The prompt had 50 tokens, and has 30 now: ")
    assert notes[3].startswith("lmchat: 40 tokens of the saved answer's prompt came from the cache")
    value = user.json("replay", "last", "--json", code=1)
    assert [f"lmchat: {note}" for note in value["notes"]] == notes[1:]


def test_an_answer_that_cannot_be_repeated_is_refused_before_it_is_asked(cli, server, user):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there."}]
    user("import", "-", stdin=json.dumps(chat))
    for make_server, option in ((PRODUCT, "seed"), (plain, "extra.seed")):
        make_server(server)
        done = cli("replay", "last")
        assert (done.returncode, done.stdout) == (2, "")
        refusal, hint = done.stderr.splitlines()
        assert refusal.startswith("lmchat: This answer was made without a known seed")
        assert hint.endswith(f"lmchat replay last --set {option}=1")
        assert not server.seen(CHAT)
    assert cli("replay", "last", "--set", "extra.seed=1").stdout == "equal: 2 words\n"
    assert cli("replay", "last", "--set", "temperature=0").stdout == "equal: 2 words\n"

    for place in ("last:2", "last:", "last:x"):
        done = user("replay", place)
        assert done.returncode == 2
        assert f"There is no answer {place}: the session has 1 answer." in done.stderr
    assert user("replay", "ffff").returncode == 2
    PRODUCT(server)
    cli("ask", "--save", "--set", "seed=-1", "Hello")
    assert user("replay", "last").returncode == 2

    cli("ask", "--save", "Hello")
    edited = json.loads(user("sessions", "show", "last", "--json").stdout)
    edited["messages"][-1]["receipt"]["is_edited"] = True
    session_id = edited["session"]["session_id"] = 16 * "e"
    user("import", "-", stdin=json.dumps(edited))
    done = user("replay", session_id)
    assert (done.returncode, "you have edited this answer" in done.stderr) == (2, True)


def test_the_server_is_that_of_the_answer_and_must_have_its_model(cli, server, user, tmp_path):
    cli("ask", "--save", "Hello")
    with ScriptedServer() as other:
        llama_cpp(other, model="tiny")
        user.env["LMCHAT_ENDPOINT"] = other.url
        assert user.json("replay", "last", "--json")["endpoint"] == server.url
        value = user.json("replay", "last", "--endpoint", other.url, "--json")
        assert value["endpoint"] == other.url
        llama_cpp(other, model="large")
        done = user("replay", "last", "--endpoint", other.url)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No server has a model tiny." in done.stderr
        assert user("replay", "last", "--endpoint", other.url, "-m", "large").returncode == 0
    server.stop()
    done = user("replay", "last", "--json")
    assert (done.returncode, json.loads(done.stdout)["detail"]["error"]) == (3, "no_server")
    assert "To ask another model: lmchat replay last -m MODEL --endpoint URL" in done.stderr
