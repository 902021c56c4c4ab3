"""Checkpoints of other projects, read without running anything in them, and converted to model files."""

from disentangle.inert.nodes import Limits, Name, Node
from disentangle.inert.reader import read_inert
from disentangle.io.foreign.conversion import Foreign, convert, read
from disentangle.io.foreign.formats import ForeignFormat
from disentangle.io.foreign.listing import contents
from disentangle.io.foreign.registry import FORMATS, register

__all__ = [
    "FORMATS",
    "Foreign",
    "ForeignFormat",
    "Limits",
    "Name",
    "Node",
    "contents",
    "convert",
    "read",
    "read_inert",
    "register",
]


def __dir__() -> list[str]:
    return sorted(__all__)
