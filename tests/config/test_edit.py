from __future__ import annotations

import tomllib

import pytest

from lmchat.config.edit import add_servers, remove_server
from lmchat.config.load import load
from lmchat.config.settings import McpSettings
from lmchat.errors import ConfigError, StoreUnavailable
from tests.support.reference import example_text

TIME = McpSettings(name="time", command=r"C:\time", args=("-z", 'a "b"'), env={"KEY": "${KEY}"})
WIKI = McpSettings(name="wiki", url="https://wiki.example/mcp", headers_env={"X-Key": "WIKI"})
ADDED = r"""[[mcp]]
name = "time"
command = "C:\\time"
args = ["-z", "a \"b\""]
env = { KEY = "${KEY}" }

[[mcp]]
name = "wiki"
url = "https://wiki.example/mcp"
headers_env = { X-Key = "WIKI" }
"""
TREE = """[[mcp]]  # mine
name = "tree"
command = "tree"  # not in PATH
[mcp.env]
A = "1"
"""
TEXTS = {
    "empty": "",
    "no line end": "model = 'm' # why",
    "comments alone": example_text(),
    "sections": "# top\n\nmodel = 'm'  # why\n\n# about it\n[chat]\nseed  =  3\n",
    "one server": f"{TREE}# about the screen\n[ui]\nascii = true\n",
    "Windows": "model = 'm'\r\n\r\n[ui] # screen\r\nascii = true\r\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_servers_come_and_go_and_all_other_lines_stay(tmp_path, text):
    file = tmp_path / "config.toml"
    if text:
        file.write_bytes(text.encode())
    add_servers(file, [TIME, WIKI], [])
    added = file.read_bytes().decode()
    assert added.endswith(ADDED)
    assert added.startswith(text)
    assert load(file, {}).settings.mcp[-2:] == (TIME, WIKI)
    remove_server(file, "time")
    remove_server(file, "wiki")
    assert file.read_bytes().decode().rstrip() == text.rstrip()


def test_comments_below_a_removed_server_are_about_what_follows(tmp_path):
    file = tmp_path / "config.toml"
    second = TREE.replace('"tree"', '"shrub"')
    file.write_text(f"# all\n{TREE}\n# the second\n{second}\n# about the screen\n[ui]\n")
    remove_server(file, "tree")
    assert file.read_text() == f"# all\n\n# the second\n{second}\n# about the screen\n[ui]\n"
    remove_server(file, "shrub")
    assert file.read_text() == "# all\n\n# the second\n\n# about the screen\n[ui]\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# top\nmodel = 'm'\n\n# about it\n[chat]\n",
        "allowed_hosts = []",
        "allowed_hosts = [ # mine\n  'a:1',\n]\n[ui]\n",
        "[chat]\nsystem_prompt = '''\n[ui]\nallowed_hosts = []'''\n",
    ],
)
def test_a_host_is_allowed_beside_those_that_are(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    add_servers(file, [WIKI], ["wiki.example:443", "b:2"])
    before, after = tomllib.loads(text), tomllib.loads(file.read_text())
    hosts = ["wiki.example:443", "b:2", *before.pop("allowed_hosts", [])]
    assert after.pop("allowed_hosts") == hosts
    assert after.pop("mcp")[0]["name"] == "wiki"
    assert after == before
    assert [line for line in text.splitlines() if "#" in line and "[" not in line] == [
        line for line in file.read_text().splitlines() if "#" in line and "[" not in line
    ]


@pytest.mark.parametrize(
    "text", ["mcp = [{ name = 'tree', command = 'tree' }]\n", "mcp.0 = 1\n", "[mcp]\n"]
)
def test_a_form_that_cannot_be_edited_stays_and_says_so(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="form that lmchat cannot edit; it is unchanged"):
        add_servers(file, [TIME], [])
    assert file.read_text() == text


def test_a_file_that_cannot_be_written_is_an_error_of_its_own(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        add_servers(tmp_path / "file" / "config.toml", [TIME], [])
