from __future__ import annotations

import os
import termios

from lmchat.doctor.machine_checks import terminal_findings
from lmchat.doctor.report import Grade

UTF8 = {"LANG": "C.UTF-8", "TERM": "xterm-256color"}


def test_the_size_of_a_real_terminal_is_told():
    for size, grade in [
        ((120, 40), "ok"),
        ((40, 12), "ok"),
        ((39, 12), "warning"),
        ((80, 11), "warning"),
        ((0, 0), "warning"),
    ]:
        master, slave = os.openpty()
        termios.tcsetwinsize(slave, (size[1], size[0]))
        row = terminal_findings(UTF8, [slave, slave])[0]
        os.close(master)
        os.close(slave)
        assert (row.grade, f"{size[0]} × {size[1]}" in row.cause) == (grade, True)


def test_without_a_terminal_it_names_what_works_without(tmp_path):
    with (tmp_path / "file").open("w") as file:
        found = terminal_findings(UTF8, [file.fileno(), -1])
    assert found[0].grade is Grade.NOT_TRIED
    assert "lmchat ask" in found[0].next_step


def test_the_locale_that_counts_decides():
    for environ, grade in [
        ({"LANG": "de_DE.UTF-8"}, Grade.OK),
        ({"LANG": "C", "LC_ALL": "en_US.utf8"}, Grade.OK),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, Grade.WARNING),
        ({"LANG": "de_DE.ISO-8859-1"}, Grade.WARNING),
        ({}, Grade.WARNING),
    ]:
        assert terminal_findings(environ, [-1, -1])[1].grade is grade
