"""Images as they are sent: upright, in a form that servers read, and small enough."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pytest

from lmchat.base.errors import FileRefused
from lmchat.base.extras import install_command
from lmchat.base.files.images import LONGEST_SIDE, fit_image, image_format
from tests.support.files_to_attach import Image, image

ORIENTATION = 0x0112
# in a process of its own, whose memory nothing else has used
GROWTH = """
import resource, sys
from io import BytesIO
from PIL import Image
from lmchat.base.files.images import fit_image

def most_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000

file = BytesIO()
Image.new(sys.argv[2], (5000, 5000)).save(file, sys.argv[1])
before = most_mb()
fit_image("a", file.getvalue())
print(most_mb() - before)
"""
# How an upright image is turned to what a camera stores with an orientation (EXIF 2.3, 4.6.4).
STORED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.ROTATE_90, Image.Transpose.FLIP_TOP_BOTTOM),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.ROTATE_270, Image.Transpose.FLIP_TOP_BOTTOM),
    8: (Image.Transpose.ROTATE_270,),
}


def encoded(picture, form: str, **options: object) -> bytes:
    out = BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def decoded(data: bytes):
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def test_a_photo_is_sent_as_a_viewer_shows_it_however_the_camera_was_held():
    upright = Image.new("RGB", (120, 80), "white")
    upright.paste("red", (0, 0, 40, 40))
    upright.paste("blue", (80, 40, 120, 80))
    for orientation, turns in STORED.items():
        stored = upright
        exif = Image.Exif()
        for turn in turns:
            stored = stored.transpose(turn)
        exif[ORIENTATION] = orientation
        for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            sent = fit_image("a", encoded(stored, form, exif=exif))
            shown = decoded(sent.data)
            assert shown.size == (sent.width, sent.height) == (120, 80)
            assert shown.getexif().get(ORIENTATION, 1) == 1
            corners = [shown.getpixel(place) for place in ((5, 5), (115, 75), (5, 75))]
            assert [[value // 128 for value in corner] for corner in corners] == [
                [1, 0, 0],
                [0, 0, 1],
                [1, 1, 1],
            ]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_small_upright_png_or_jpeg_stays_byte_for_byte():
    two = {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}
    odd = Image.Exif()
    odd[ORIENTATION] = 9
    photo = image("JPEG")
    damaged = b"\xff\xe1\x00\x14Exif\0\0II*\0" + bytes([255]) * 8
    for data in (
        image("PNG", (LONGEST_SIDE, 3)),
        image("PNG", mode="P", transparency=0),
        image("PNG", mode="I;16"),
        image("PNG", mode="LA"),
        image("JPEG", mode="L"),
        image("JPEG", mode="CMYK"),
        image("JPEG", exif=odd),
        image("MPO", **two),
        photo[:2] + damaged + photo[2:],
    ):
        sent = fit_image("a", data)
        assert (sent.data, sent.left_out) == (data, "")


def test_any_other_image_becomes_png_or_jpeg():
    turned = Image.Exif()
    turned[ORIENTATION] = 3
    for data, form, mode in (
        (image("WEBP"), "JPEG", "RGB"),
        (image("WEBP", (80, 60), "RGBA"), "PNG", "RGB"),
        (image("AVIF"), "JPEG", "RGB"),
        (image("GIF", mode="P"), "PNG", "RGB"),
        (image("GIF", mode="P", transparency=0), "PNG", "RGB"),
        (image("BMP"), "PNG", "RGB"),
        (image("BMP", mode="1"), "PNG", "L"),
        (image("TIFF", mode="CMYK"), "PNG", "RGB"),
        (image("TIFF", mode="L", big_tiff=True), "PNG", "L"),
        (image("JPEG", mode="CMYK", exif=turned), "JPEG", "RGB"),
        (image("PNG", mode="P", transparency=0, exif=turned), "PNG", "RGB"),
    ):
        shown = decoded(fit_image("a", data).data)
        assert (shown.format, shown.mode) == (form, mode)


def test_what_is_transparent_becomes_white_where_an_image_is_converted():
    logo = Image.new("RGBA", (LONGEST_SIDE + 2, 9), (255, 0, 0, 0))
    logo.paste((0, 0, 0, 255), (0, 0, 900, 9))
    for form in ("PNG", "WEBP", "TIFF"):
        shown = decoded(fit_image("a", encoded(logo, form)).data)
        assert [shown.getpixel((at, 4)) for at in (9, 1900)] == [(0, 0, 0), (255, 255, 255)]


def test_grey_of_16_bits_keeps_its_brightness_when_it_is_converted():
    for mode, form in (("I;16", "TIFF"), ("I;16", "PNG")):
        data = encoded(Image.new(mode, (LONGEST_SIDE + 1, 4), 0x8000), form)
        assert decoded(fit_image("a", data).data).getpixel((9, 1)) in (127, 128)
    measured = Image.new("F", (4, 4), 0.5)
    measured.putpixel((0, 0), 0.0)
    measured.putpixel((3, 3), 1.0)
    shown = decoded(fit_image("a", encoded(measured, "TIFF")).data)
    assert [shown.getpixel((at, at)) for at in (0, 1, 3)] == [0, 127, 255]


def test_of_several_frames_or_pages_the_first_is_sent_and_the_others_are_named():
    blue = Image.new("RGB", (64, 48), "blue")
    for form, kind in (
        ("GIF", "frame"),
        ("WEBP", "frame"),
        ("PNG", "frame"),
        ("AVIF", "frame"),
        ("TIFF", "page"),
    ):
        red = encoded(Image.new("RGB", (64, 48), "red"), form, save_all=True, append_images=[blue])
        sent = fit_image("a", red)
        assert sent.left_out == f"only its first {kind} is sent"
        assert decoded(sent.data).convert("RGB").getpixel((9, 9))[0] > 250


def test_a_missing_package_is_named_where_an_image_needs_it(monkeypatch):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    heic = b"\0\0\0\x18ftypheic" + bytes(80)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(FileRefused, match="cannot be read without pillow-heif") as refused:
        fit_image("a.heic", heic)
    assert refused.value.next_step == f"Install it: {install_command('heic')}"
    photo = image("JPEG", exif=exif)
    webp = image("WEBP")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert fit_image("a.jpg", photo).left_out == "without Pillow, it may lie on its side"
    for data in (webp, heic):
        with pytest.raises(FileRefused, match="must be converted to PNG, which needs Pillow"):
            fit_image("a", data)


@pytest.mark.skipif(sys.platform != "linux", reason="counts in the units of Linux")
def test_a_large_image_is_scaled_before_it_is_copied():
    for form, mode, most_mb in (("JPEG", "RGB", 50), ("PNG", "RGBA", 200)):  # 100 MB decoded
        command = [sys.executable, "-c", GROWTH, form, mode]
        grown = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
        assert int(grown.stdout) < most_mb


def test_texts_and_films_are_no_images():
    for data in (b"BM and BMW", b"II*", b"GIF8", b"RIFF1234WAVE", b"\0\0\0\x20ftypisom", b""):
        assert image_format(data) == ""
