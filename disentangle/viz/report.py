"""One self-contained HTML page: text, tables and pictures, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from disentangle._version import __version__
from disentangle.errors import InputError, reason
from disentangle.files import write_text
from disentangle.text import escaped

__all__ = ["Picture", "Section", "Table", "save_report"]

_TYPES = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; numbers are right-aligned by the page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture file, embedded, with a caption."""

    path: str | os.PathLike[str]
    caption: str

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
    """A heading with what stands below it, in this order: paragraphs, command, tables, pictures."""

    title: str
    paragraphs: Sequence[str] = ()
    command: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def save_report(path: str | os.PathLike[str], title: str, sections: Sequence[Section], *, lead: str = "") -> None:
    """Write the page; nothing in a text is markup or a control character.

    Raises:
        InputError: if a picture is missing.
        OutputError: if the page cannot be written.
    """
    import jinja2

    def visible(value: Any) -> Any:
        return "\n".join(map(escaped, value.split("\n"))) if isinstance(value, str) else value

    template = resources.files("disentangle.viz").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=visible
    )
    page = environment.from_string(template).render(title=title, lead=lead, sections=sections, version=__version__)
    write_text(path, page)
