"""Checkpoints of other projects, read without running anything in them, and converted to model files."""

from disentangle.inert.nodes import Limits, Name, Node
from disentangle.inert.reader import read_inert
from disentangle.io.foreign.conversion import Foreign, convert, read
from disentangle.io.foreign.listing import contents

__all__ = ["Foreign", "Limits", "Name", "Node", "contents", "convert", "read", "read_inert"]


def __dir__() -> list[str]:
    return sorted(__all__)
