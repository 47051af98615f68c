"""What a command cannot use is one sentence and an exit code, and nothing is sent."""

from __future__ import annotations

import json

from tests.support.files_to_attach import image
from tests.support.programs import Inside

Cli = Inside

FILES = {
    "cut.png": image()[:-100],
    "no-schema.json": '{"type": "person"}'.encode("utf-16"),
    "large.json": b" " * (1 << 20) + b"{}",
    "cut.pdf": b"%PDF-1.5 cut",
}
REFUSED = (
    (["ask"], 2, "The prompt is empty.\n"),
    (["ask", "  "], 2, "The prompt is empty.\n"),
    (["ask", "--no-such", "hi"], 2, "`lmchat ask` does not take --no-such.\n"),
    (["ask", "-p", "frensh", "two cats"], 2, "Unknown preset: frensh.\n"),
    (["ask", "--set", "tempratur=1", "hi"], 2, "Unknown sampling option: tempratur; did you mean "),
    (["ask", "--set", "top_p=high", "hi"], 2, "top_p must be a number from 0 to 1, not high."),
    (["ask", "--set", "temperature= ", "hi"], 2, "temperature must be a number from 0 to 2, not "),
    (["ask", "--set", "top_k", "hi"], 2, "--set needs NAME=VALUE, not “top_k”."),
    (["ask", "--set", "", "hi"], 2, "--set needs NAME=VALUE, not “”."),
    (
        ["ask", "--schema", "no-schema.json", "hi"],
        2,
        "This JSON schema cannot be used: at $.type: ",
    ),
    (["ask", "--schema", "large.json", "hi"], 1, "large.json is larger than 1 MB.\n"),
    (["ask", "--schema", ".", "hi"], 1, ". is a folder.\n"),
    (["ask", "--schema", "", "hi"], 2, "FILE is empty.\n"),
    (
        ["ask", "--schema", '{"name": "Emma"}', "hi"],
        2,
        "This JSON schema cannot be used: it has no ",
    ),
    (["ask", "--schema", "no-schema.json", "--code", "hi"], 2, "--code: not allowed with "),
    (["ask", "-f", "cut.png", "hi"], 1, "cut.png is damaged or cut off.\nCopy or download it "),
    (["ask", "-f", "gone.png", "hi"], 1, "gone.png does not exist.\nCheck the path.\n"),
    (["ask", "--yes", "-f", "", "hi"], 2, "FILE is empty.\n"),  # not the current folder
)


def test_what_ask_cannot_use_is_a_sentence_an_exit_code_and_a_document(cli, server, tmp_path):
    cli.cwd = tmp_path
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    for words, code, sentence in REFUSED:
        done = cli(*words)
        assert (done.returncode, done.stdout) == (code, ""), words
        assert done.stderr.removeprefix("lmchat: ").startswith(sentence), done.stderr
        done = cli(*words, "--json")
        assert (done.returncode, [*json.loads(done.stdout)]) == (code, ["detail"])
    for stdin in (FILES["cut.png"], FILES["cut.pdf"]):
        for words in (["ask", "Explain"], ["decide", "Spam?"]):
            done = cli(*words, stdin=stdin)
            assert (done.returncode, done.stdout) == (2, ""), words
            assert done.stderr.startswith("lmchat: stdin ")
    assert server.seen() == []
