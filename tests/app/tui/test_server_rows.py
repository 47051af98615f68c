from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.app.tui.welcome.server_rows import (
    NO_SERVER,
    LocalSetup,
    default_choice,
    headline_and_advice,
    server_rows,
    welcome_rows,
)
from lmchat.core.servers.discovery.choose import no_server_error
from lmchat.core.servers.discovery.status import STATUS, Next
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.installed import Installed
from lmchat.core.servers.model import LoadState
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.product import OPENAI_COMPATIBLE
from tests.support.scripted_backend import model, probed
from tests.support.scripted_products import PRODUCT_NAMES

OLLAMA = Installed(
    product="Ollama",
    start=("/usr/bin/ollama", "serve"),
    how_to_start="ollama serve",
)
LMS = Installed(
    product="LM Studio",
    start=("/h/lms", "server", "start"),
    how_to_start="lms server start",
)
LLAMA = Installed(
    product="llama.cpp",
    how_to_start="llama-server -m MODEL.gguf",
)
JAN = Installed(product="Jan")
OWN_STEP = "Its own step"
FAR = Endpoint.parse("http://gpu-box:11434")


def found(product: str, verdict: str = "offline", here: LocalSetup | None = None, **more):
    here = here or LocalSetup(installed=(OLLAMA, LMS, LLAMA, JAN))
    (place,) = server_rows([probed(verdict, product=product, next_step=OWN_STEP, **more)], here)
    return place


def test_each_program_that_is_not_running_has_its_step():
    none = LocalSetup(installed=())
    for product, verdict, here, result, step, is_start in (
        ("Ollama", "offline", None, "not running", "ollama serve", True),
        (
            "LM Studio",
            "server_off",
            None,
            "server off",
            LMS.how_to_start,
            True,
        ),
        ("LM Studio", "server_off", none, "server off", OWN_STEP, False),
        ("llama.cpp", "offline", None, "not running", OWN_STEP, False),
        # before anybody has looked
        ("Ollama", "offline", LocalSetup(), "refused", OWN_STEP, False),
    ):
        place = found(product, verdict, here)
        assert (place.result, place.next_step, place.start is not None) == (
            result,
            step,
            is_start,
        ), product
    assert found("Ollama").start.argv == ("/usr/bin/ollama", "serve")
    for product in PRODUCT_NAMES:
        if product_named(product).step("get"):
            place = found(product, here=none)
            assert (place.result, place.key) == ("not found", None)
            assert (place.is_not_installed, place.next_step) == (
                True,
                product_named(product).step("get"),
            )


def test_a_row_names_the_product_and_where_it_is_once():
    here = Endpoint.parse("http://localhost:8080")
    far = FAR
    for product, endpoint, verdict, is_named, name, port in (
        ("llama.cpp", here, "model_not_loaded", True, "llama.cpp", "8080"),
        ("llama.cpp", here, "offline", False, "llama.cpp", "8080"),
        ("llama.cpp", here, "offline", True, "localhost:8080", ""),
        (OPENAI_COMPATIBLE, here, "", False, "localhost:8080", ""),
        ("Ollama", far, "model_not_loaded", True, "Ollama at gpu-box:11434", ""),
        ("Ollama", far, "offline", True, "gpu-box:11434", ""),
    ):
        row = found(product, verdict, endpoint=endpoint, is_configured=is_named)
        assert (row.name, row.port) == (name, port)
    two = [found("llama.cpp", "", endpoint=Endpoint.parse(f"localhost:{port}")) for port in (1, 22)]
    for width, texts in ((60, ["llama.cpp :1 ", "llama.cpp :22"]), (99, [" 1 ", " 22 "])):
        _, _, *rows = welcome_rows(LocalSetup(), two, width)
        for row, text in zip(rows, texts, strict=False):
            assert text in "".join(piece for piece, _ in row.pieces[0])


def test_nothing_is_started_where_it_answers_or_is_far_or_in_the_way():
    assert found("Ollama", "far_offline", endpoint=FAR).key is None
    for reason in STATUS:
        place = found("Ollama", reason)
        if place.status.is_model_server or place.status.action is Next.ALLOW:
            assert place.key == place.status.endpoint
        elif reason not in ("offline", "server_off"):
            assert (place.next_step, place.key) == (OWN_STEP, None)


BOX = Endpoint.parse("http://gpu-box:1337")
NAMES = " Or press Enter on its row to name a model."
# reasons of a server whose address the user has named, what Enter does, and whether it does so
# before the user has chosen a row
OFFERED = (
    (("", "loading"), "", True),
    (("not_pulled",), " Or press Enter to download one.", True),
    (("auth", "key_withheld", "key_rejected"), " Press Enter, then type it.", True),
    (("not_allowed",), " Or press Enter to allow it for this run.", True),
    (("empty", "timeout", "server_error", "refuses_path"), NAMES, False),
    (("not_an_llm", "other_path", "dropped"), NAMES, False),
    (("host_blocked", "certificate", "password", "moved", "slash"), "", False),
    (
        ("server_off", "unreachable", "offline", "far_offline", "no_route", "insecure", "config"),
        "",
        False,
    ),
)


def test_the_page_offers_what_leads_to_a_chat_with_a_server_that_was_named():
    seen = ["model_not_loaded", "only_remote"]
    for reasons, offer, is_first in OFFERED:
        seen += reasons
        for reason in reasons:
            server = probed(
                reason, endpoint=BOX, is_configured=True, detail="Why.", next_step="Do this"
            )
            (row,) = server_rows([server], LocalSetup(installed=(LMS,)))
            is_ready = reason in ("", "loading")
            advice = "" if is_ready else f"Next: Do this.{offer}"
            assert headline_and_advice([server])[1] == advice, reason
            assert default_choice([row]) == (BOX if is_first else None), reason
            has_enter = is_first or offer == NAMES or server.is_model_server
            assert row.key == (BOX if has_enter else None), reason
            unnamed = replace(server, is_configured=False)
            assert unnamed.action is not Next.NAME, reason
    assert sorted(seen) == sorted(STATUS)
    for reason in ("model_not_loaded", "only_remote"):
        server = probed(reason, model(), next_step="Do this")
        assert headline_and_advice([server])[1] == "Press Enter to choose one."
        (row,) = server_rows([server], LocalSetup())
        assert (row.next_step, default_choice([row])) == ("Choose a model", server.endpoint)


def test_a_server_that_lacks_one_thing_is_told_with_the_step():
    for verdict, words in (
        ("auth", "needs an API key."),
        ("key_rejected", "rejected the API key."),
        ("not_pulled", "has no model yet."),
    ):
        found = [probed("offline", product="Jan"), probed(verdict)]
        assert headline_and_advice(found)[0] == f"LM Studio answers, but {words}"
    off = [probed("server_off")]
    assert headline_and_advice(off)[0] == "LM Studio runs, but its server is off."
    blocked = probed("host_blocked", endpoint=BOX, product="Jan", is_configured=True)
    words = "Jan at gpu-box:1337 does not accept the host name gpu-box."
    for found in ([blocked], [probed("auth"), blocked]):  # the named one comes first
        assert headline_and_advice(found)[0] == words
    for none in ([], [probed("offline"), probed("not_an_llm")]):
        assert headline_and_advice(none) == (NO_SERVER, "")


def test_a_named_server_that_is_away_is_told_in_its_own_words():
    away = probed(
        "offline", endpoint=BOX, is_configured=True, detail="Nothing answers.", next_step="Go"
    )
    assert headline_and_advice([away]) == ("gpu-box:1337: Nothing answers.", "Next: Go.")
    unloaded = probed("model_not_loaded", model(state=LoadState.NOT_LOADED))
    words = "The server you named cannot be used. LM Studio can."
    assert headline_and_advice([away, unloaded]) == (words, "")
    words = "LM Studio answers, but no model is loaded."
    assert server_rows([unloaded], LocalSetup())[0].next_step == "Choose a model"
    assert headline_and_advice([unloaded]) == (words, "Press Enter to choose one.")
    named = probed("", model(), endpoint=BOX, is_configured=True)
    words = "LM Studio at gpu-box:1337 answers."
    assert headline_and_advice([probed("", model()), named])[0] == words
    assert headline_and_advice([named])[0] == "LM Studio at gpu-box:1337 answers."
    unknown = probed("", model(), product=OPENAI_COMPATIBLE)
    subject = f"The server at {unknown.endpoint.netloc}"
    assert headline_and_advice([unknown])[0] == f"{subject} answers."
    words = f"The server you named cannot be used. {subject} can."
    assert headline_and_advice([away, unknown]) == (words, "")


def test_a_named_server_without_a_loaded_model_is_chosen_before_another_that_is_ready():
    ready = probed("", model())
    named = probed(
        "model_not_loaded", model(state=LoadState.NOT_LOADED), endpoint=BOX, is_configured=True
    )
    assert default_choice(server_rows([ready, named], LocalSetup())) == BOX


def test_the_headline_is_about_the_server_that_enter_takes_by_the_name_that_the_user_gave_it():
    ready = probed("", model(), own_name="workstation")
    needy = probed("auth", product="Jan", endpoint=Endpoint.parse("http://localhost:1337"))
    for servers in ([ready, needy], [needy, ready]):
        rows = server_rows(servers, LocalSetup())
        chosen = next(row for row in rows if row.key == default_choice(rows))
        headline, _ = headline_and_advice(servers, chosen.key)
        assert headline.startswith(f"{chosen.name} "), headline
    assert {row.name for row in rows} == {"workstation", "Jan"}


@pytest.mark.parametrize("verdict", ["auth", "key_rejected", "host_blocked"])
def test_page_and_command_line_say_the_same_of_a_server(verdict):
    here = probed(verdict, endpoint=BOX, product="Jan", is_configured=True)
    said = headline_and_advice([here])[0].replace("gpu-box:1337", BOX.url)
    assert no_server_error([here]).message == said
