from __future__ import annotations

from lmchat.attachments.shell_command import output_attachment
from tests.support.programs import ran


async def transcript(text: str) -> tuple[str, str]:
    """Run a command; return the name and the text of the file that a prompt gets."""
    attachment = output_attachment(await ran(text))
    return attachment.part.name, attachment.data.decode()


async def test_command_output_and_exit_code_are_one_file_of_the_prompt():
    command = await ran("echo one; echo two >&2; exit 4")
    file = output_attachment(command)
    assert file.part.name == "$ echo one; echo two >&2;…, exit code 4"
    assert file.data == b"$ echo one; echo two >&2; exit 4\none\ntwo\n[exit code 4]\n"


async def test_escape_sequences_are_visible_characters_and_other_signs_are_sent_as_they_are():
    _, text = await transcript(r"printf '\033]0;title\007\033[31mred\r\n\342\200\256evil\n'")
    assert "␛]0;title␇␛[31mred\n\u202eevil\n" in text


async def test_bytes_that_are_no_text_are_left_out():
    _, text = await transcript("head -c 1500 /dev/zero")
    assert text == "$ head -c 1500 /dev/zero\n[not text]\n[exit code 0]\n"


async def test_the_beginning_of_a_long_output_is_left_out_and_told():
    command = await ran("seq 100000")
    text = output_attachment(command).data.decode()
    assert text.startswith("$ seq 100000\n[389 kB left out]\n")
    assert text.endswith("\n99999\n100000\n[exit code 0]\n")
    assert len(text) < 201_000
    assert output_attachment(command).part.name == "$ seq 100000, 389 kB left out"
