"""Pickles and torch's files as plain data: nothing in them is imported, looked up or run, and sizes are bounded."""

from disentangle.inert.boundary import reading
from disentangle.inert.budget import Budget
from disentangle.inert.container import sniff
from disentangle.inert.nodes import DamagedError, LimitError, Limits, Name, Node
from disentangle.inert.plain import read_plain
from disentangle.inert.reader import read_budgeted, read_inert

__all__ = [
    "Budget",
    "DamagedError",
    "LimitError",
    "Limits",
    "Name",
    "Node",
    "read_budgeted",
    "read_inert",
    "read_plain",
    "reading",
    "sniff",
]


def __dir__() -> list[str]:
    return sorted(__all__)
