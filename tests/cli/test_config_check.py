from __future__ import annotations

import os

from tests.support.programs import PYTHON, Inside


def test_arguments_in_the_command_of_a_tool_server_are_found(tmp_path):
    cli = Inside(home=tmp_path)
    for command, line in (
        ("node seeds.js --port 1", 3),
        (f"{PYTHON} -c pass", 3),
        ("npx", None),
        # paths, which may have blanks, and are looked for when the server starts
        (f"{tmp_path}/my server", None),
        (f".{os.sep}my server", None),
    ):
        cli.configure(f"[[mcp]]\nname = 'a'\ncommand = '{command}'\n")
        problems = cli.json("config", "check", "--json", code=2 if line else 0)["problems"]
        assert [problem["line"] for problem in problems] == ([line] if line else [])
        assert all(
            "arguments, which belong into args" in problem["message"] for problem in problems
        )
