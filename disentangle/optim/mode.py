"""What a mode of a treatment is: a record at the foot of the file that has its step.

A step of your own is added with :func:`disentangle.optim.register`, and is then known to
:func:`~disentangle.optim.orthogonalize`, the configurations and the command line::

    def signs(X, G, lr, options):
        return X - lr * options.own("strength") * G.sign(), lr

    disentangle.optim.register(Mode(
        "signs", "The sign of every number of the gradient.", signs,
        options={"strength": Option("times the rate", 1.0, lambda given: check_number("strength", given, above=0))},
        refuses={"olr": OWN_LENGTH},
    ))
    disentangle.orthogonalize(optimizer, weight, mode="signs", options={"strength": 0.5})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from disentangle.errors import InputError, unknown_name
from disentangle.text import quoted

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["NAMED", "NO_POLAR", "OFF", "OWN_LENGTH", "OWN_POLAR", "PULLS", "REACH", "Mode", "Option", "Step"]

# A weight farther from the manifold, in ||X X^T - I||_F, is put on it before a step that assumes it is near.
REACH = 0.5

# What a mode may refuse or need, in the order in which it is looked at, and how each is when it is not asked for.
OFF: Mapping[str, Any] = {"olr": False, "nog": False, "ol": 0.0, "retraction": "none", "scale": "none"}

# Options of some modes that are arguments of their own, with the defaults that they have there.
NAMED: Mapping[str, float | None] = {"attraction": None, "radius": 1.0}

# Reasons that several modes have.
OWN_LENGTH = "olr=True does not go with it: its step has a length of its own; leave olr out"
OWN_POLAR = "it takes the polar factor of the direction itself; leave nog out"
PULLS = "it pulls the weight to orthogonality itself; leave ol out"
NO_POLAR = "it has no polar factor to scale; leave scale out or pass nog=True"

Step = Callable[[Tensor, Tensor, float, "TreatmentOptions"], "tuple[Tensor, float | Tensor]"]


@dataclass(frozen=True)
class Option:
    """An option that only some modes have.

    Attributes:
        about: what it does; a half sentence.
        default: what it is where it is not given, or None.
        check: raises an :class:`~disentangle.errors.InputError` for a value that will not do.
    """

    about: str
    default: Any
    check: Callable[[Any], object]


@dataclass(frozen=True)
class Mode:
    """What is made of a step that an optimizer took.

    Attributes:
        name: for ``mode=``.
        about: what it does; a sentence.
        step: from ``(X, G, lr, options)`` the new X and the rate that was used. X (r, n) is the weight with the shorter
            side first, G (r, n) the direction: the gradient for plain SGD, else what momentum or Adam made of it.
            ``options.own(name)`` is the value of an option of this mode. None: the optimizer's step stays as it is.
        options: those of its own, by name: ``attraction`` and ``radius`` are arguments of ``orthogonalize``, any other
            is given in its ``options``.
        refuses: arguments of ``orthogonalize`` that do not go with it (see :data:`OFF`), and why.
        refuses_without_nog: those that go with it only beside ``nog=True``, and why.
        needs: arguments without which it makes no sense, and the whole sentence that says so.
        alone: whether it is a treatment by itself, without ``nog``, ``olr``, ``ol`` or a retraction.
        on_manifold: whether its step assumes a weight near the manifold: one that is far is put there before.
        of_columns: whether its papers have orthonormal columns: off the manifold a square weight is not the same to
            those that have rows.
        after_optimizer: whether NOG acts on what the optimizer made of the gradient, in place of the gradient.
    """

    name: str
    about: str
    step: Step | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    refuses: Mapping[str, str] = field(default_factory=dict)
    refuses_without_nog: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    alone: bool = True
    on_manifold: bool = False
    of_columns: bool = False
    after_optimizer: bool = False

    def __post_init__(self) -> None:
        if self.step is None and (self.alone or self.after_optimizer):
            raise InputError(f"The mode {quoted(self.name)} lacks step; expected a function, or alone=False.")
        for name in (*self.refuses, *self.refuses_without_nog, *self.needs):
            if name not in OFF:
                raise unknown_name(f"argument that the mode {quoted(self.name)} refuses or needs", str(name), OFF)
