"""Pickles and torch's files as plain data: nothing in them is imported, looked up or run, and sizes are bounded."""

from disentangle.inert.container import sniff
from disentangle.inert.nodes import DamagedError, Limits, Name, Node
from disentangle.inert.reader import read_inert

__all__ = ["DamagedError", "Limits", "Name", "Node", "read_inert", "sniff"]
