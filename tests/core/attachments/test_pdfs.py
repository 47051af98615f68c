"""Text of PDFs, and what is said of all that is not in it."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path

import pytest

from lmchat.base.errors import FileRefused
from lmchat.base.extras import install_command
from lmchat.base.processes.child import ChildEndedError, ChildProcess, own_program
from lmchat.core.attachments.attachment import attachment_of
from lmchat.core.attachments.pdf_text_child import PdfText, pdf_text
from tests.support.files_to_attach import pdf

PDFS = Path(__file__).with_name("pdfs")
PDF_CHILD = "lmchat.core.attachments.pdf_text_child"
DAMAGED = b"/Filter /Unknown"
FORM = """<< /Fields [101 0 R 102 0 R 104 0 R 105 0 R 106 0 R 107 0 R 108 0 R 110 0 R] >>
<< /T (name) /TU (Your name) /FT /Tx /V (Ada) >>
<< /T (home) /FT /Tx /V (none) /Kids [103 0 R 102 0 R 111 0 R] >>
<< /T (city) /V (Bern) >>
<< /T (agree) /FT /Btn /V /Yes >>
<< /T (news) /FT /Btn >>
<< /T (send) /FT /Btn /Ff 65536 >>
<< /T (beds) /FT /Ch /V [(a) (b)] /Opt [[(a) (North)] (b)] >>
<< /T (colour) /FT /Btn /Ff 32768 /V /Red /Kids [109 0 R] >>
<< /AS /Red >>
<< /T (remark) /FT /Tx /V (one\\rtwo) >>
<< /T (zip) >>"""
LINES = """name (Your name): Ada
home.city: Bern
home.zip: none
agree: Yes
news: Off
beds: North, b
colour: Red
remark: one
two"""


def test_pages_forms_and_comments_of_four_programs_are_read():
    texts = {
        "latex": PdfText("The first fine flowers affect the field.\n\nBean 12\nPea 7"),
        # the ligatures have codes of which nobody knows the letters
        "latex-bitmap": PdfText(
            "The �rst �ne �owers a�ect the �eld.\n\nBean 12\nPea 7", "5 letters unknown"
        ),
        "libreoffice": PdfText(
            "Bed for the fair of März\nI agree\n\nComment: Too early?\n\n"
            "Form fields:\ngardener: Ada\nagree: Yes",
            "1 of 2 pages has no text: 2",
        ),
        "chromium": PdfText(
            "The first fine flowers affect the field. Sow café beans in März.\n"
            "Bean 12\nPea 7\n\nSecond page: plain",
            "1 of 3 pages has no text: 3",
        ),
        "scanner": PdfText(
            "Order of ten beans \nfor the west bed",
            "1 of 2 pages has no text: 2; 1 of 2 pages is an image with few words: 1",
        ),
    }
    for name, text in texts.items():
        assert pdf_text((PDFS / f"{name}.pdf").read_bytes()) == text


def test_what_the_text_of_a_pdf_lacks_is_said_and_its_form_is_a_part_of_it():
    deep = "\n".join(f"<< /T (a) /Kids [{number} 0 R] >>" for number in range(102, 190))
    for pages, form, text, left_out in (
        (("One", "", "Two", ""), "", "One\n\nTwo", "2 of 4 pages have no text: 2, 4"),
        (("One", ""), "", "One", "1 of 2 pages has no text: 2"),
        (("", "", "One", "", ""), "", "One", "4 of 5 pages have no text: 1, 2, 4, 5"),
        (
            ("One", *[""] * 999),
            "",
            "One",
            "999 of 1 000 pages have no text: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …",
        ),
        (("One", DAMAGED), "", "One", "1 of 2 pages cannot be read: 2"),
        (
            ("One", DAMAGED, "", DAMAGED),
            "",
            "One",
            "1 of 4 pages has no text: 3; 2 of 4 pages cannot be read: 2, 4",
        ),
        (("One",), FORM, f"One\n\nForm fields:\n{LINES}", ""),
        (("",), FORM, f"Form fields:\n{LINES}", "1 of 1 page has no text: 1"),
        (("One",), "<< /XFA (x) /Fields [] >>", "One", "its form cannot be read (XFA)"),
        (("One",), "<< /Fields [5] >>", "One", "its form cannot be read"),
        (("One",), f"<< /Fields [101 0 R] >>\n{deep}", "One", "its form cannot be read"),
        # letters without a name
        (("One\\000\\001\\377two",), "", "One��ÿtwo", "2 letters unknown"),
        (("One", "\\001\\002a"), "", "One", "1 of 2 pages has no text: 2"),
    ):
        assert pdf_text(pdf(*pages, form=form)) == PdfText(text, left_out)


def test_comments_are_read_and_attached_files_are_named():
    from pypdf import PdfReader, PdfWriter  # noqa: PLC0415 - see above
    from pypdf.annotations import FreeText, Text  # noqa: PLC0415

    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf("One", "Two"))))
    place = (10, 10, 50, 50)
    writer.add_annotation(0, FreeText(text="typed on it", rect=place))
    writer.add_annotation(0, Text(text="see\rbelow", rect=place))
    writer.add_annotation(1, Text(text=" ", rect=place))
    writer.add_attachment("plan.csv", b"1,2")
    writer.add_attachment("b\x1b.csv", b"1,2")
    made = BytesIO()
    writer.write(made)
    assert pdf_text(made.getvalue()) == PdfText(
        "One\n\nComment: typed on it\n\nComment: see\nbelow\n\nTwo",
        "2 attached files left out: b�.csv, plan.csv",
    )


async def test_a_pdf_that_unpacks_to_much_more_is_refused_and_costs_no_more_than_that():
    from pypdf import PdfReader, PdfWriter  # noqa: PLC0415 - see above
    from pypdf.generic import (  # noqa: PLC0415
        ArrayObject,
        DecodedStreamObject,
        DictionaryObject,
        NameObject,
    )

    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf("One"))))
    words = DecodedStreamObject()
    words.set_data(b"peas " * 1_000_000)
    text = writer._add_object(words.flate_encode())
    file = DictionaryObject({NameObject("/F"): text})
    writer.pages[0][NameObject("/Annots")] = ArrayObject(
        DictionaryObject({NameObject("/Subtype"): NameObject(kind), NameObject(name): value})
        for kind, name, value in (
            ("/Text", "/Contents", text),
            ("/FileAttachment", "/FS", file),
        )
    )
    made = BytesIO()
    writer.write(made)
    assert len(made.getvalue()) < 100_000
    found = pdf_text(made.getvalue())
    assert len(found.text) + len(found.left_out) < 1_010_000
    with pytest.raises(FileRefused, match=r"a\.pdf has more than 1 MB of text"):
        await attachment_of("a.pdf", made.getvalue())


def test_fields_that_only_pages_know_are_read_as_after_joining_pdfs():
    from pypdf import PdfReader, PdfWriter  # noqa: PLC0415 - see above

    for has_form in (False, True):
        writer = PdfWriter(clone_from=PdfReader(PDFS / "libreoffice.pdf"))
        if has_form:
            writer.root_object["/AcroForm"]["/Fields"].pop()
        else:
            del writer.root_object["/AcroForm"]
        made = BytesIO()
        writer.write(made)
        assert pdf_text(made.getvalue()).text.endswith("Form fields:\ngardener: Ada\nagree: Yes")


def test_an_encrypted_pdf_is_read_unless_a_password_or_a_package_is_missing(monkeypatch):
    open_to_all = (PDFS / "owner-only.pdf").read_bytes()
    assert pdf_text(open_to_all).text.startswith("Order of ten beans")
    locked = pdf_text((PDFS / "password.pdf").read_bytes())
    assert locked == PdfText(
        problem="needs a password", next_step="Save a copy without a password."
    )
    unknown = pdf_text(open_to_all.replace(b"/Filter /Standard", b"/Filter /Strange!"))
    assert unknown.problem == "is encrypted in a way that pypdf does not know"

    for name in list(sys.modules):
        if name.partition(".")[0] == "pypdf":
            monkeypatch.delitem(sys.modules, name)
    for package in ("cryptography", "Crypto"):
        monkeypatch.setitem(sys.modules, package, None)
    refused = pdf_text(open_to_all)
    assert refused.problem == "is encrypted, and cannot be read without cryptography"
    assert refused.next_step == f"Install it: {install_command('pdf')}"


async def test_a_pdf_becomes_its_text_and_without_pypdf_the_hint_names_the_extra(monkeypatch):
    found = await attachment_of("plan.pdf", pdf("Sow lettuce.", ""))
    assert found.data == b"[1 of 2 pages has no text: 2]\n\nSow lettuce.\n"
    assert found.part.left_out == "1 of 2 pages has no text: 2"
    assert found.part.label == "plan.pdf (44 B of text; 1 of 2 pages has no text: 2)"
    assert found.part.media_type == "application/pdf"
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(FileRefused, match="without pypdf") as refused:
        await attachment_of("plan.pdf", pdf("Hello"))
    assert refused.value.next_step == f"Install it: {install_command('pdf')}"


async def test_other_bytes_may_stand_before_a_pdf_but_a_text_about_pdfs_is_a_text():
    for before, behind in (
        (b"HTTP/1.1 200 OK\r\n\r\n", b""),
        (b"\0" * 1015, b"\0" * 2000),
    ):
        found = await attachment_of("plan.pdf", before + pdf("Hello") + behind)
        assert found.data == b"Hello\n"
    with pytest.raises(FileRefused, match=r"^plan.pdf is damaged."):
        await attachment_of("plan.pdf", before + pdf("Hello")[:60])
    about = b"# PDFs\nThey begin with %PDF-1.4, and end with %%EOF."
    for text in (about, about + b"\n" * 1025, b"\n" * 1025 + about, about[:40]):
        assert (await attachment_of("about.md", text)).data == text


@pytest.mark.posix
@pytest.mark.skipif(sys.platform != "linux", reason="no other system has this limit")
async def test_a_pdf_is_read_where_the_user_allows_less_memory_than_lmchat_would():
    command = ["sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh", *own_program(PDF_CHILD)]
    child = await ChildProcess.start(command, environment=dict(os.environ))
    await child.send_frame(pdf("Hello"))
    assert b"Hello" in await child.receive_frame()
    await child.end()


async def test_a_pdf_that_cannot_be_read_is_refused_in_one_sentence(monkeypatch):
    for data, sentence in (
        (pdf(""), "plan.pdf has no text, as if it were scanned."),
        (pdf(DAMAGED, DAMAGED), "plan.pdf is damaged."),
        (b"%PDF-", "plan.pdf is damaged."),
    ):
        with pytest.raises(FileRefused) as refused:
            await attachment_of("plan.pdf", data)
        assert refused.value.message == sentence
        assert refused.value.next_step.endswith(".")

    async def take_too_long(module, frame, *, timeout_s):
        raise ChildEndedError(f"{module}, {len(frame)}, {timeout_s}")

    monkeypatch.setattr(ChildProcess, "answer", take_too_long)
    with pytest.raises(FileRefused, match=r"^plan.pdf is too complicated"):
        await attachment_of("plan.pdf", pdf("Hello"))
