from __future__ import annotations

import pytest

from lmchat.core.attachments.shell_command import output_attachment
from tests.support.programs import PYTHON, ran

_TO_PRINT = "import sys; print_bytes = sys.stdout.buffer.write; "


async def transcript(code: str) -> tuple[str, str]:
    """Run a command of Python, the shell of all systems; return name and text of the file."""
    attachment = output_attachment(await ran(code, shell=PYTHON))
    return attachment.part.name, attachment.data.decode()


async def test_command_output_and_exit_code_are_one_file_of_the_prompt():
    code = "import os; os.write(1, b'one\\n'); os.write(2, b'two\\n'); exit(4)"
    name, text = await transcript(code)
    assert name == "$ import os; os.write(1,…, exit code 4"
    assert text == f"$ {code}\none\ntwo\n[exit code 4]\n"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (r"\033]0;title\007\033[31mred\r\n\342\200\256evil\n", "red\n\u202eevil\n"),
        (r"\033[01;31m\033[Kpea\033[m\033[K soup\n", "pea soup\n"),  # grep
        (r"\033]8;;http://a\033\\beds\033]8;;\033\\\033(B\n", "beds\n"),  # ls --hyperlink
        (r"a 1%\ra 99%\r\r\n50%\r", "a 99%\n50%\n"),
        (r"1/2\033[2K\033[G2/2\nsow |\033[2K\033[1Gsow /\033[2K\r\n", "2/2\n\n"),  # yarn
        (r"N\bNA\bA_\bx\b\b\b\by\n", "y\n"),  # man
        (r"\033]no end\n\033[1;\n\007", "no end\n1;\n␇\n"),
    ],
)
async def test_output_is_what_a_terminal_shows_of_it_and_other_controls_are_visible(printed, shown):
    _, text = await transcript(f"{_TO_PRINT}print_bytes(b'{printed}')")
    assert text.endswith(f")\n{shown}[exit code 0]\n")


async def test_bytes_that_are_no_text_are_left_out():
    _, text = await transcript(f"{_TO_PRINT}print_bytes(bytes(1500))")
    assert text.endswith("\n[not text]\n[exit code 0]\n")


async def test_the_beginning_of_a_long_output_is_left_out_and_told():
    number = "print_bytes(b'%d\\n' % number)"
    name, text = await transcript(f"{_TO_PRINT}[{number} for number in range(1, 100_001)]")
    assert "\n[389 kB left out]\n" in text
    assert text.endswith("\n99999\n100000\n[exit code 0]\n")
    assert len(text) < 201_000
    assert name.endswith(", 389 kB left out")


async def test_a_character_whose_beginning_was_left_out_is_left_out_whole():
    _, text = await transcript(f"{_TO_PRINT}print_bytes('€'.encode() * 70_000)")
    assert "left out]\n€€" in text
    assert text.endswith("€€\n[exit code 0]\n")


@pytest.mark.windows
async def test_programs_of_windows_print_the_code_page_of_the_console_or_utf_8():
    for encoding in ("oem", "utf-8"):
        _, text = await transcript(f"{_TO_PRINT}print_bytes('Gr\\xfc\\xdfe'.encode('{encoding}'))")
        assert text.endswith("\nGrüße\n[exit code 0]\n")
