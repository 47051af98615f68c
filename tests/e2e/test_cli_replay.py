"""`lmchat replay`: what it sends again, and what it says of the two answers."""

from __future__ import annotations

import json
import math
from functools import partial

import pytest

from lmchat.servers.model import BUILT_IN
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
        "Hello\nthere.": ['saved     " there."', 'replayed  "\\nthere."'],
        "Hello you.\nAnd": ['saved     "there."', 'replayed  "you."'],
        "Hello  there.": ['saved     " there."', 'replayed  "  there."'],
        f"Hello {70 * '花'}.": ['saved     "there."', f'replayed  "{60 * "花"}"'],
        "Hello": ['saved     "there."', "replayed  (end)"],
        "Hello there. And": ["saved     (end)", 'replayed  "And"'],
        "<think>No</think>Hello there.": ["saved     (end)", 'replayed  "No"'],
    }.items():
        server.on(CHAT, chat_reply(text))
        done = user("replay", "last")
        assert (done.returncode, done.stdout.splitlines()[2:]) == (1, lines)


def test_a_stopped_answer_is_compared_as_far_as_it_goes_and_not_much_more_is_read(
    cli, server, user
):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": STORY}]
    user("import", "-", stdin=json.dumps(chat))
    stopped = json.loads(user("sessions", "show", "last", "--json").stdout)
    stopped["messages"][-1]["state"] = "stopped"
    session_id = stopped["session"]["session_id"] = 16 * "e"
    user("import", "-", stdin=json.dumps(stopped))
    server.on(CHAT, sse(*words_of(f"{STORY} {STORY}"), Gate()))
    done = cli("replay", session_id, "--set", "seed=1")
    assert (done.returncode, done.stdout) == (
        0,
        "equal: 20 words, as far as the saved answer goes\n",
    )
    assert server.seen(CHAT)[-1].client_left.wait(5)


def test_thoughts_are_compared_too_and_of_tools_a_note_tells(cli, server, user):
    thought = [delta(reasoning_content="So be it.")]
    server.on(CHAT, sse(*thought, *words_of(STORY), finish(), DONE))
    cli("ask", "--save", "Hello")
    assert user("replay", "last").returncode == 0
    server.on(CHAT, sse(delta(reasoning_content="So what."), *words_of(STORY), finish(), DONE))
    first, *_ = user("replay", "last").stdout.splitlines()
    assert first == "different at word 2 of the thought, after: So"

    write_tools(cli, config="[tools.approval]\n'python/add' = 'always'\n")
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("It is 5."))
    cli("ask", "--save", "--tools", "Add 3 and 2.")
    server.on(CHAT, chat_reply("It is 4."))
    done = user("replay", "last")
    assert (done.returncode, "a replay offers none" in done.stderr) == (1, True)
    assert "tools" not in server.seen(CHAT)[-1].json


def test_what_is_not_the_same_is_said(cli, server, user):
    cached, fresh = usage(50), usage(30)
    cached["usage"]["prompt_tokens_details"] = {"cached_tokens": 40}
    first, later = ({"system_fingerprint": build} for build in ("b1000-a", "b1001-b"))
    server.on(
        CHAT,
        sse(delta("Yes") | first, finish(), cached, DONE),
        sse(delta("No") | later, finish(), fresh, DONE),
    )
    cli("ask", "--save", "Hello")
    done = user("replay", "last")
    assert done.returncode == 1
    notes = [
        "Build of the server: b1000-a in the saved answer, b1001-b now.",
        "Tokens of the prompt: 50 in the saved answer, 30 now.",
        "Tokens of the prompt from a cache: 40 in the saved answer, 0 now.",
    ]
    assert done.stderr.splitlines() == [f"lmchat: {note}" for note in notes]
    assert user.json("replay", "last", "--json", code=1)["notes"] == notes


def test_an_answer_that_cannot_be_repeated_is_refused_before_it_is_asked(cli, server, user):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there."}]
    user("import", "-", stdin=json.dumps(chat))
    done = cli("replay", "last")
    assert (done.returncode, done.stdout) == (2, "")
    refusal, hint = done.stderr.splitlines()
    assert refusal.startswith("lmchat: This answer was made without a known seed")
    assert hint.endswith("lmchat replay last --set seed=1")
    plain(server)
    assert "extra.seed sends it all the same" in cli("replay", "last", "--set", "seed=1").stderr
    assert not server.seen(CHAT)
    assert cli("replay", "last", "--set", "extra.seed=1").stdout == "equal: 2 words\n"
    assert cli("replay", "last", "--set", "temperature=0").stdout == "equal: 2 words\n"

    for place in ("last:2", "last:0", "last:x"):
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


def test_a_model_of_the_engine_in_a_folder_of_its_own_is_named_by_its_file(cli, user):
    cli("ask", "--save", "Hello")
    session = json.loads(user("sessions", "show", "last", "--json").stdout)
    session["messages"][-1]["receipt"]["product"] = BUILT_IN
    session_id = session["session"]["session_id"] = 16 * "e"
    user("import", "-", stdin=json.dumps(session))
    done = user("replay", session_id)
    assert done.returncode == 2
    assert "There is no model tiny on this disk." in done.stderr
    assert f"lmchat replay {session_id} -m FILE" in done.stderr
