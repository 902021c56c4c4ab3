"""Checkpoints of other projects, read without running anything in them, and converted to model files."""

from disentangle.io.foreign.conversion import Foreign, convert, read
from disentangle.io.foreign.inert import read_inert
from disentangle.io.foreign.listing import contents
from disentangle.io.foreign.nodes import Limits, Name, Node

__all__ = ["Foreign", "Limits", "Name", "Node", "contents", "convert", "read", "read_inert"]
