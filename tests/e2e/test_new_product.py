"""A product that lmchat does not know, added as docs/architecture.md says: one row."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.programs import ROOT, Cli
from tests.support.scripted_products import ANSWER, plain
from tests.support.scripted_server import json_reply

ROW = """
PRODUCTS = (
    Product(
        name="Heron",
        place=Place(
            ports=({port},),
            proof=Proof("/feathers", '"bird": ?"heron"'),
            is_offered=True,
        ),
        steps={{"start": "heron up", "key": "Copy the key from Heron: Nest, Keys"}},
        refusal_next_steps={{"server_error": "Ask it kindly."}},
        lists=Lists(state=LoadState.LOADED),
        options=TakenOptions(sampling_fields={{"top_k": "best_of_flock"}}),
    ),
    *PRODUCTS,
)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A copy of lmchat in which a test may add a product."""
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(ROOT / "lmchat", folder / "lmchat")
    return folder


@pytest.fixture
def heron(program, tmp_path, server):
    """The command line of an lmchat that knows the product, whose server runs at its usual port."""
    plain(server, "tiny").on("GET /feathers", json_reply({"bird": "heron"}))
    port = int(server.url.rpartition(":")[2])
    table = "lmchat/core/servers/products/table.py"
    (program / table).write_text((ROOT / table).read_text() + ROW.format(port=port))
    return Cli(home=tmp_path, cwd=program)


def candidate(cli, server):
    port = server.url.rpartition(":")[2]
    rows = json.loads(cli("detect", "--json").stdout)["candidates"]
    return next(row for row in rows if row["url"].endswith(f":{port}"))


def test_its_server_is_found_at_its_port_and_answers_with_its_steps(heron, server):
    row = candidate(heron, server)
    assert (row["product"], row["verdict"], row["next_step"]) == ("Heron", "ready", None)

    done = heron("ask", "--endpoint", server.url, "--set", "top_k=3", "Hello")
    assert (done.stdout, done.returncode) == ("".join(ANSWER) + "\n", 0), done
    assert server.seen("POST /v1/chat/completions")[-1].json["best_of_flock"] == 3

    server.on("POST /v1/chat/completions", json_reply({"error": "no"}, status=418))
    done = heron("ask", "--endpoint", server.url, "Hello")
    assert "Heron says: no\nAsk it kindly." in done.stderr


def test_its_words_are_shown_for_a_missing_key_and_where_it_does_not_run(heron, server):
    server.on("GET /v1/models", json_reply({"error": {"message": "No key"}}, status=401))
    row = candidate(heron, server)
    step = "Copy the key from Heron: Nest, Keys"
    assert (row["product"], row["verdict"], row["next_step"]) == ("Heron", "needs key", step)
    report = heron("doctor").stdout
    assert "Heron" in report
    assert f"next: {step}" in report

    server.stop()
    row = candidate(heron, server)
    assert (row["product"], row["verdict"], row["next_step"]) == ("Heron", "refused", "heron up")
