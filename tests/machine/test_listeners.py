from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lmchat.machine.processes import port_holders, read_lsof, tool_to_see
from tests.support.start_desk import listener

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
TCP_HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])  # noqa: S104 - bound to on purpose
def test_a_listening_socket_is_told_with_its_process_and_address(host):
    with listener(host) as server:
        port = server.getsockname()[1]
        holder = port_holders({port})[port]
    assert holder.pid == os.getpid()
    assert holder.program
    assert holder.addresses == (host,)
    assert str(os.getpid()) in holder.words


def test_a_port_where_nobody_listens_is_left_out():
    with listener() as server:
        port = server.getsockname()[1]
    assert port_holders({port}) == {}


def test_who_is_only_connected_is_no_holder():
    with listener() as server, socket.create_connection(server.getsockname()) as client:
        assert port_holders({client.getsockname()[1]}) == {}


def test_what_an_interpreter_runs_is_told_and_its_arguments_are_not(tmp_path):
    script = tmp_path / "model server.py"
    script.write_text(
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, str(script), "--api-key", "sk-secret"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        port = int(process.stdout.readline())
        holder = port_holders({port})[port]
        process.stdin.close()
    assert holder.pid == process.pid
    assert "model server.py" in holder.program
    assert "secret" not in repr(holder)


def proc_with(folder: Path, line: str) -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "tcp").write_text(TCP_HEAD + line)
    return folder


@on_linux
def test_a_socket_of_another_user_is_told_by_its_user_where_the_process_cannot_be_seen(tmp_path):
    line = "   0: 0100007F:04D2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1\n"
    holder = port_holders({1234}, proc=proc_with(tmp_path, line))[1234]
    assert (holder.pid, holder.program, holder.user) == (None, "", "root")
    assert "user root" in holder.words


@on_linux
@pytest.mark.parametrize(
    "line", ["", "garbage\n", "0: zz:zz 0:0 0A\n", "\x00\n", "0: 0100007F:04D2 0:0 0A 0 0 0 x 0 7\n"]
)
def test_a_table_of_the_kernel_that_cannot_be_read_costs_the_answer_alone(tmp_path, line):
    assert port_holders({1234}, proc=proc_with(tmp_path, line)) == {}


def test_what_lsof_prints_is_read():
    lines = [
        "p42",
        "cLM Studio",
        "u0",
        "f7",
        "n127.0.0.1:1234",
        "f8",
        "n[::1]:1234",
        "p9",
        "cjan",
        "f1",
        "n*:1337",
    ]
    holders = read_lsof([*lines, "nodd", ""])
    assert (holders[1234].program, holders[1234].pid) == ("LM Studio", 42)
    assert holders[1234].addresses == ("127.0.0.1", "::1")
    assert (holders[1337].program, holders[1337].addresses) == ("jan", ("0.0.0.0",))  # noqa: S104 - read only


def test_the_command_that_sees_more_names_the_port():
    assert "1234" in tool_to_see(1234)
    assert tool_to_see(1234).startswith("sudo ")
