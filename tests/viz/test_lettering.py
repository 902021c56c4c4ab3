"""Labels in any script: a font that has the characters, or their names, and never an empty box."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from disentangle.viz import lettering
from disentangle.viz.lettering import Lettering, drawable, fallback_fonts, own_font


@pytest.fixture
def bare(monkeypatch) -> None:
    """A machine without any font but our own."""
    monkeypatch.setattr(lettering, "_of_this_machine", tuple)
    monkeypatch.setattr(lettering, "_FOUND", {})
    lettering._say.cache_clear()


def ink(text: str) -> bytes:
    """What is drawn of a text, without the white around it."""
    letters = Lettering(20)
    sheet = Image.new("L", (int(letters.width(text)) + 40, 40), 255)
    letters.draw(ImageDraw.Draw(sheet), (20, 20), text, anchor="l", fill=0)
    return sheet.crop(Image.eval(sheet, lambda value: 255 - value).getbbox()).tobytes()


def test_what_our_own_font_has_is_drawn_in_it():
    for text in ("size -2.5", "größer", "размер", "μέγεθος", "°", ""):
        assert drawable(text) == text
        assert fallback_fonts(text) == []


def test_without_a_font_the_character_is_named_and_that_is_said_once(bare, caplog):
    assert drawable("猫 \N{SAUROPOD} x") == "[U+732B] [sauropod] x"
    assert drawable("猫 \N{SAUROPOD} y") == "[U+732B] [sauropod] y"
    assert caplog.text.count("No font of this machine has U+732B") == 1
    assert ink("猫") == ink("[U+732B]")
    assert drawable("❤\ufe0f") == "❤", "which of two looks it has is no character"


def test_a_font_of_the_machine_is_taken_where_ours_lacks_a_character(monkeypatch, tmp_path):
    """A font file that has a sauropod: ours, in which the letter H is called one."""
    from fontTools.ttLib import TTFont

    with TTFont(own_font()) as font:
        for table in font["cmap"].tables:
            if table.isUnicode() and table.format == 12:
                table.cmap[0x1F995] = "H"
        font.save(tmp_path / "beasts.ttf")
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(lettering, "_of_this_machine", lambda: (broken, Path("missing.ttf"), tmp_path / "beasts.ttf"))
    monkeypatch.setattr(lettering, "_FOUND", {})
    assert drawable("\N{SAUROPOD}") == "\N{SAUROPOD}"
    assert fallback_fonts("a \N{SAUROPOD}") == [tmp_path / "beasts.ttf"]
    assert ink("\N{SAUROPOD}") == ink("H")


def test_a_figure_has_no_empty_box(bare, tmp_path):
    import warnings

    from matplotlib.figure import Figure

    from disentangle.viz.canvas import plain_label, save_figure

    figure = Figure()
    figure.subplots().set_title(plain_label("猫"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.canvas.draw()
        save_figure(figure, tmp_path / "f.png")
    assert not [warning for warning in told if "missing from font" in str(warning.message)]


def test_a_text_that_is_too_long_is_cut():
    letters = Lettering(13)
    for text in ("a long name of a direction", "猫" * 40, ""):
        short = letters.cut(text, 80)
        assert letters.width(short) <= 80
        assert short == text or short.endswith("…")
