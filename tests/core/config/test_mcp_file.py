"""Files of tool servers: examples of other programs' documents, and what lmchat writes."""

from __future__ import annotations

import json
import stat

import pytest

from lmchat.base.errors import ConfigError, FileRefused, StoreUnavailable
from lmchat.core.config.load import load
from lmchat.core.config.mcp_file import expanded, read_servers, variables_in, write_servers
from lmchat.core.config.settings import McpSettings
from tests.support.faults import no_root, open_folder

# https://lmstudio.ai/docs/app/plugins/mcp
LM_STUDIO = """{
  "mcpServers": {
    "hf-mcp-server": {
      "url": "https://huggingface.co/mcp",
      "headers": {
        "Authorization": "Bearer <YOUR_HF_TOKEN>"
      }
    }
  }
}"""
# https://modelcontextprotocol.io/docs/develop/connect-local-servers, for Windows
CLAUDE_DESKTOP = r"""{
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": [
        "-y",
        "@modelcontextprotocol/server-filesystem",
        "C:\\Users\\user\\Desktop",
        "C:\\Users\\user\\Downloads"
      ]
    }
  }
}"""
# https://cursor.com/docs/mcp
CURSOR = """{
  "mcpServers": {
    "local-server": {
      "command": "python",
      "args": ["${workspaceFolder}/tools/mcp_server.py"],
      "env": {
        "API_KEY": "${env:API_KEY}"
      }
    },
    "remote-server": {
      "url": "https://api.example.com/mcp",
      "headers": {
        "Authorization": "Bearer ${env:MY_SERVICE_TOKEN}"
      }
    }
  }
}"""
# https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
VS_CODE = """{
    "inputs": [
        {
            "type": "promptString",
            "id": "perplexity-key",
            "description": "Perplexity API Key",
            "password": true
        }
    ],
    "servers": {
        "perplexity": {
            "type": "stdio",
            "command": "npx",
            "args": [
                "-y",
                "server-perplexity-ask"
            ],
            "env": {
                "PERPLEXITY_API_KEY": "${input:perplexity-key}"
            }
        }
    }
}"""
# https://zed.dev/docs/ai/mcp
ZED = """{
  "context_servers": {
    "your-mcp-server": {
      "source": "custom",
      "command": "some-command",
      "args": ["arg-1", "arg-2"],
      "env": {}
    }
  }
}"""
# made here: what people add by hand
BY_HAND = """// mine
{
  "globalShortcut": "http://no-comment /* nor this",
  "mcpServers": {
    /* two
       lines */
    "garden": {"command": "./serve", "args": ["-n", 3], "cwd": null, "env": {"N": 3, "OFF": null}, "disabled": true,},
    "beds": {"httpUrl": "http://127.0.0.1:1/mcp", "timeout_s": 9, "approve": "always",
      "headers": {"X-Bed": 3, "X-Off": null},}, // last
  },
}
"""
FILES = {
    "LM Studio": (
        LM_STUDIO,
        [
            {
                "name": "hf-mcp-server",
                "url": "https://huggingface.co/mcp",
                "headers": {"Authorization": "Bearer <YOUR_HF_TOKEN>"},
            }
        ],
        [],
    ),
    "Claude Desktop": (
        CLAUDE_DESKTOP,
        [
            {
                "name": "filesystem",
                "command": "npx",
                "args": (
                    *("-y", "@modelcontextprotocol/server-filesystem"),
                    *(r"C:\Users\user\Desktop", r"C:\Users\user\Downloads"),
                ),
            }
        ],
        [],
    ),
    "Cursor": (
        CURSOR,
        [
            {
                "name": "local-server",
                "command": "python",
                "args": ("${workspaceFolder}/tools/mcp_server.py",),
                "env": {"API_KEY": "${env:API_KEY}"},
            },
            {
                "name": "remote-server",
                "url": "https://api.example.com/mcp",
                "headers": {"Authorization": "Bearer ${env:MY_SERVICE_TOKEN}"},
            },
        ],
        ["workspaceFolder", "API_KEY", "MY_SERVICE_TOKEN"],
    ),
    "VS Code": (
        VS_CODE,
        [
            {
                "name": "perplexity",
                "command": "npx",
                "args": ("-y", "server-perplexity-ask"),
                "env": {"PERPLEXITY_API_KEY": "${input:perplexity-key}"},
            }
        ],
        ["input:perplexity-key"],
    ),
    "Zed": (
        ZED,
        [
            {
                "name": "your-mcp-server",
                "command": "some-command",
                "args": ("arg-1", "arg-2"),
                "env": {},
            }
        ],
        [],
    ),
    "by hand": (
        BY_HAND,
        [
            {
                "name": "garden",
                "command": "./serve",
                "args": ("-n", "3"),
                "env": {"N": "3"},
                "disabled": True,
            },
            {
                "name": "beds",
                "url": "http://127.0.0.1:1/mcp",
                "timeout_s": 9,
                "approve": "always",
                "headers": {"X-Bed": "3"},
            },
        ],
        [],
    ),
}


def put(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "mcp.json"
    file.write_text(text, encoding=encoding)
    return file


@pytest.mark.parametrize(("text", "wanted", "variables"), FILES.values(), ids=FILES)
def test_files_of_other_programs_are_read_as_they_are(tmp_path, text, wanted, variables):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # as Notepad and PowerShell write it
        found = read_servers(put(tmp_path, text, encoding))
        assert found.refused == {}
        assert list(found.servers.values()) == [McpSettings(**values) for values in wanted]
    servers = found.servers.values()
    assert [name for server in servers for name in variables_in(server)] == variables
    own = load(tmp_path / "config.toml", {})
    assert (list(own.servers), own.notes, own.problems) == ([*servers], (), ())


def test_variables_are_put_in_everywhere_and_those_without_a_value_are_told():
    text = "${A}-${env:B}-${C}-${A:-x}-${C:-https://x:-1}-${C:-}"
    missing = []
    server = McpSettings(
        name="wiki", command=text, args=(text,), env={"K": text}, cwd=text, headers={"H": text}
    )
    full = expanded(server, {"A": "1", "B": "${A}"}, lambda name: missing.append(name) or "?")
    done = "1-${A}-?-1-https://x:-1-"
    assert (full.command, full.args, full.env, full.cwd) == (done, (done,), {"K": done}, done)
    assert (full.headers, full.url, full.timeout_s) == ({"H": done}, "", None)
    assert missing == ["C"] * 5
    assert variables_in(server) == ["A", "B", "C"]


WRONG = {
    "neither": ({}, "needs command or url, but not both."),
    "both": ({"command": "a", "url": "http://a"}, "needs command or url, but not both."),
    "null": ({"command": "a", "args": [None]}, "args[0]: expected text, got nothing."),
    "sse": ({"type": "sse", "url": "http://a/sse"}, "the type sse is not supported; many servers"),
    "by another key": ({"transport": "sse", "url": "http://a"}, "the type sse is not supported"),
    "text": ("uvx time", "expected a table, got text."),
    "a/b": ({"command": "a"}, 'name: expected a name, not empty, without "/", and not python.'),
    "python": ({"command": "a"}, 'name: expected a name, not empty, without "/", and not python.'),
    "older Zed": ({"command": {"path": "a"}}, "command: expected text, got a table."),
    "path": ({"command": "C:\new"}, "command: expected a path without control characters; write"),
    "headers": (
        {"url": "http://a", "headers": {"Content-Length": "5"}},
        "headers: expected values",
    ),
}


@pytest.mark.parametrize("text", ["", " \n", "{}", "// none yet\n{}"])
def test_an_empty_file_has_no_servers(tmp_path, text):
    file = put(tmp_path, text)
    assert read_servers(file).servers == {}
    assert load(tmp_path / "config.toml", {}).notes == ()
    if "//" not in text:
        write_servers(file, [TIME])
        assert list(read_servers(file).servers) == ["time"]


def test_a_server_that_lmchat_cannot_use_costs_itself_alone_and_is_told(tmp_path):
    entries = {name: entry for name, (entry, _) in WRONG.items()} | {"good": {"command": "a"}}
    found = read_servers(put(tmp_path, json.dumps({"mcpServers": entries})))
    assert list(found.servers) == ["good"]
    for name, (_, reason) in WRONG.items():
        assert found.refused[name].startswith(reason), name
    loaded = load(tmp_path / "config.toml", {})
    assert [server.name for server in loaded.servers] == ["good"]
    assert loaded.problems == ()
    assert {note.key: f"{note.reason}." for note in loaded.notes} == found.refused


TOO_MUCH = "a number in it is too long, or it is nested too deep"
OTHERS = {
    "[]": "it has no mcpServers or servers or context_servers",
    '{"mcpServers": []}': "it has no mcpServers or",
    '{\n"mcpServers": {"a": }}': "line 2: Expecting value",
    '/* x\n */{"a" 1}': "line 2: Expecting ':' delimiter",
    '{"mcpServers": {} /* open': "line 1: Expecting ',' delimiter",
    "/*" * 300_000: "line 1: Expecting value",
    '"' + "," * 300_000: "line 1: Unterminated string",
    "[" * 100_000: TOO_MUCH,
    '{"mcpServers": {}, "n": ' + "9" * 5000 + "}": TOO_MUCH,
    "\ud800": "it is not UTF-8 text: save it as UTF-8",
}


@pytest.mark.parametrize(("text", "reason"), OTHERS.items(), ids=range(len(OTHERS)))
def test_another_file_is_refused_as_a_whole_and_costs_the_tools_alone(tmp_path, text, reason):
    file = tmp_path / "mcp.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(FileRefused, match="is not a file of MCP servers: ") as caught:
        read_servers(file)
    assert f": {reason}" in caught.value.message
    (tmp_path / "config.toml").write_text(OLDER)  # which is not used any more
    with pytest.raises(FileRefused):
        write_servers(file, [TIME])
    loaded = load(tmp_path / "config.toml", {})
    assert (loaded.servers, loaded.problems, len(loaded.notes)) == ((), (), 2)
    assert loaded.notes[1].sentence.startswith(f"{file}: is not a file of MCP servers: {reason}")


TIME = McpSettings(name="time", command=r"C:\time", args=("-z", 'ä "b"'), env={"KEY": "${KEY}"})
WIKI = McpSettings(name="wiki", url="https://wiki.example/mcp", headers={"X-Key": "s3cret"})
ADDED = {
    "time": {"command": r"C:\time", "args": ["-z", 'ä "b"'], "env": {"KEY": "${KEY}"}},
    "wiki": {"url": "https://wiki.example/mcp", "headers": {"X-Key": "s3cret"}},
}


@pytest.mark.parametrize("text", ["", *(FILES[name][0] for name in FILES if name != "by hand")])
def test_servers_come_and_go_and_all_else_stays(tmp_path, text):
    file = tmp_path / "mcp.json"
    if text:
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
    before = json.loads(text) if text else {"mcpServers": {}}
    write_servers(file, [TIME, WIKI])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    after = json.loads(file.read_text(encoding="utf-8"))
    [table] = before.keys() & {"mcpServers", "servers", "context_servers"}
    assert after == before | {table: before[table] | ADDED}
    assert list(read_servers(file).servers.values())[-2:] == [TIME, WIKI]
    with pytest.raises(ConfigError, match="has a server time already"):
        write_servers(file, [TIME])
    write_servers(file, without="time")
    write_servers(file, without="wiki")
    write_servers(file, without="wiki")  # another lmchat has removed it
    assert json.loads(file.read_text(encoding="utf-8")) == before


def test_a_file_with_comments_is_not_rewritten_and_what_to_paste_is_told(tmp_path):
    file = put(tmp_path, BY_HAND)
    with pytest.raises(ConfigError, match="has comments or last commas") as caught:
        write_servers(file, [TIME, WIKI])
    pasted = caught.value.next_step.partition(": ")[2]
    entries = json.loads(f"{{{pasted}}}")
    assert entries["time"] == ADDED["time"]
    assert entries["wiki"]["headers"] == {"X-Key": "VALUE"}
    with pytest.raises(ConfigError, match="does not change it") as caught:
        write_servers(file, without="garden")
    assert caught.value.next_step == "Delete garden in it."
    assert file.read_text(encoding="utf-8") == BY_HAND


def test_a_file_that_cannot_be_written_is_an_error_of_its_own(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file is a file, not a folder"):
        write_servers(tmp_path / "file" / "mcp.json", [TIME])


OLDER = """# mine
model = "m"
[[mcp]]
name = "wiki"
url = "https://wiki.example/mcp"
headers_env = { X-Key = "WIKI" }
timeout_s = 9
[[mcp]]
name = "tree"
command = "tree"
enabled = false
[mcp.env]
A = "${A}"
[[mcp]]
name = "neither"
"""


def test_servers_of_an_earlier_version_are_moved_once_and_then_only_named(tmp_path):
    config = tmp_path / "config.toml"
    file = tmp_path / "mcp.json"
    config.write_text(OLDER)
    first = load(config, {})
    [note] = first.notes
    lost = "neither: needs command or url, but not both"
    assert note.sentence == (
        f"{config}, line 3: mcp: was moved to {file}; {lost}; delete the lines"
    )
    assert (first.problems, first.settings.model) == ((), "m")
    assert json.loads(file.read_text()) == {
        "mcpServers": {
            "wiki": {
                "timeout_s": 9,
                "url": "https://wiki.example/mcp",
                "headers": {"X-Key": "${WIKI}"},
            },
            "tree": {"command": "tree", "env": {"A": "${A}"}, "disabled": True},
        }
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert config.read_text() == OLDER
    write_servers(file, without="wiki")
    second = load(config, {})
    assert [server.name for server in second.servers] == ["tree"]
    assert second.notes[0].reason == (
        f"has no effect any more: servers are in {file}; {lost}; delete the lines"
    )
    assert (second.problems, second.settings.model) == ((), "m")


@pytest.mark.parametrize("older", ["mcp = 1", "mcp = [1]", "[mcp]\na = 1", "[[mcp]]\nname = 3"])
def test_what_never_was_a_server_costs_nothing_else(tmp_path, older):
    (tmp_path / "config.toml").write_text(f"model = 'm'\n{older}\n")
    loaded = load(tmp_path / "config.toml", {})
    assert (loaded.servers, loaded.problems, loaded.settings.model) == ((), (), "m")
    assert len(loaded.notes) == 1


@pytest.mark.posix
def test_in_a_folder_that_cannot_be_written_the_older_servers_are_used():
    with open_folder() as folder:
        (folder / "config.toml").write_text(OLDER)
        folder.chmod(0o555)
        with no_root():
            loaded = load(folder / "config.toml", {})
    assert [server.name for server in loaded.servers] == ["wiki", "tree"]
    assert "mcp.json, which cannot be written: " in loaded.notes[0].reason
