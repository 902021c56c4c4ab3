"""One self-contained HTML page: text, tables and pictures, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from disentangle._version import __version__
from disentangle.errors import InputError, reason
from disentangle.files import write_text
from disentangle.text import escaped

__all__ = ["Picture", "Section", "Table", "save_report"]

_WIDEST = 880  # pixels of the page that a picture may take
_TYPES = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; numbers are right-aligned by the page.

    Attributes:
        header: the first row; of empty cells, it is left out.
        rows: as many cells each.
        prose: cells are sentences: aligned to the left, and broken where they are long.
        title: a line above.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture file, embedded, with a caption.

    Attributes:
        path: the file.
        caption: what is on it, below it.
        narrow: it may stand beside others; on a small screen it has the whole width.
        pixels: its pixels are enlarged where there is room, without smoothing.
        alt: what is on it for those who do not see it, where that is another text than the caption.
    """

    path: str | os.PathLike[str]
    caption: str
    narrow: bool = False
    pixels: bool = False
    alt: str = ""

    @property
    def width(self) -> int:
        """How wide it is shown where there is room, in pixels of the page."""
        from disentangle.images import inspect_picture

        try:
            width = inspect_picture(Path(self.path).read_bytes()).size[0]
        except Exception:  # a picture of anybody's folder: the browser will make of it what it can
            return _WIDEST
        return min(2 * width, _WIDEST) if self.pixels and 2 * width <= _WIDEST else width

    @property
    def source(self) -> str:
        """``data:`` address of the file's content."""
        path = Path(self.path)
        try:
            content = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise InputError(f"the picture {path} cannot be read ({reason(error)}).") from None
        return f"data:{_TYPES[path.suffix.lower()]};base64,{content}"


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order: paragraphs, command, tables, pictures, notes, details.

    Details are a heading each with a text or a table that is folded until the heading is clicked.
    """

    title: str
    paragraphs: Sequence[str] = ()
    command: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    details: Sequence[tuple[str, str | Table]] = ()

    @property
    def groups(self) -> list[tuple[bool, list[Picture]]]:
        """The pictures in their order, those that stand beside one another together."""
        return [(narrow, list(some)) for narrow, some in groupby(self.pictures, key=lambda picture: picture.narrow)]


def save_report(path: str | os.PathLike[str], title: str, sections: Sequence[Section], *, lead: str = "") -> None:
    """Write the page; nothing in a text is markup or a control character, but for `code` between backticks.

    Raises:
        InputError: if a picture is missing.
        OutputError: if the page cannot be written.
    """
    import jinja2
    from markupsafe import Markup, escape

    def visible(value: Any) -> Any:
        if isinstance(value, Markup):  # of a macro, whose texts have passed here, or of `prose`
            return value
        return "\n".join(map(escaped, value.split("\n"))) if isinstance(value, str) else value

    template = resources.files("disentangle.viz").joinpath("report.html.j2").read_text(encoding="utf-8")

    def prose(text: str) -> Any:
        pieces = [escape(visible(piece)) for piece in text.split("`")]
        if len(pieces) % 2 == 0:  # one without its other half is none
            pieces[-2:] = [Markup("`").join(pieces[-2:])]
        return Markup("").join(Markup(f"<code>{piece}</code>") if i % 2 else piece for i, piece in enumerate(pieces))

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=visible
    )
    environment.filters["prose"] = prose
    page = environment.from_string(template).render(title=title, lead=lead, sections=sections, version=__version__)
    write_text(path, page)
