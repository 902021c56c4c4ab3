"""Which class each picture of a conditional generator is of, where a score draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from disentangle.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ClassPlan", "Generator", "plan_classes"]


@dataclass(frozen=True)
class ClassPlan:
    """The classes of ``n`` pictures.

    Attributes:
        labels: (n,) int64, None for a generator without classes.
        settings: what a score says of them: ``"classes"``, how many there are; ``"classes_drawn"``, how they were
            chosen; ``"class_shares"``, where they were not equal. Empty for a generator without classes.
    """

    labels: Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def part(self, generator: Any, first: int, last: int) -> Any:
        """``generator`` as one without classes, for a call on the pictures from ``first`` to ``last``, all of them."""
        return generator if self.labels is None else _OfClasses(generator, self.labels[first:last])

    @property
    def note(self) -> str:
        """The settings in words; empty without classes."""
        if not self.settings:
            return ""
        return f"{self.settings['classes']} classes: {self.settings['classes_drawn']}"


@runtime_checkable
class Generator(Protocol):
    """What scores ask of a generator; those of the toolkit have more."""

    if TYPE_CHECKING:  # some generators have one space and do not say so
        spaces: Mapping[str, Any]

    def sample_latents(self, n: int, *, space: str | None = None) -> Any: ...

    def __call__(self, latents: Any, *, space: str | None = None) -> Any: ...


def plan_classes(
    generator: Any, n: int, *, label: int | None = None, class_shares: Sequence[float] | None = None, seed: int = 0
) -> ClassPlan:
    """Classes of ``n`` pictures: one for all, or each class as often as its share, to within one picture.

    The draw has a stream of its own, so that it changes no latents, and depends on no batch.

    Args:
        generator: with ``c_dim`` classes, 0 or no such attribute for none; its ``label``, if it has one that is not
            None, is the default.
        n: pictures.
        label: the class of all.
        class_shares: (c_dim,) how often each class is drawn, relative to one another, e.g. counts; all alike by
            default.
        seed: of which picture is of which class.

    Raises:
        InputError: if the generator has no classes or not this one, or shares do not fit.
    """
    import torch

    count = int(getattr(generator, "c_dim", 0) or 0)
    if not count:
        for name, value in (("label", label), ("class_shares", class_shares)):
            if value is not None:
                raise InputError(f"{name} is {value}, but this generator has no classes; leave it out.")
        return ClassPlan()
    if label is not None and class_shares is not None:
        raise InputError("label and class_shares were both given; expected one class, or how often each is drawn.")
    if label is None and class_shares is None:
        label = getattr(generator, "label", None)
    if label is not None:
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < count:
            raise InputError(f"label is {label!r}; expected a class from 0 to {count - 1}.")
        labels = torch.full((n,), int(label), dtype=torch.int64)
        return ClassPlan(labels, {"classes": count, "classes_drawn": f"class {int(label)} alone"})
    shares = np.ones(count) if class_shares is None else np.asarray(class_shares, dtype=np.float64)
    if shares.shape != (count,) or not np.all(np.isfinite(shares)) or shares.min() < 0 or not shares.sum() > 0:
        raise InputError(
            f"class_shares has shape {shares.shape}; expected ({count},), one finite number from 0 on for each class, "
            "not all 0."
        )
    rng = np.random.default_rng([seed, 7])
    # equally spaced places on the line of all shares: each class gets its share to within one picture, however few
    edges = np.cumsum(shares / shares.sum())
    places = (np.arange(n) + rng.random()) / max(n, 1)
    drawn = np.minimum(np.searchsorted(edges, places, side="right"), np.flatnonzero(shares)[-1])
    settings: dict[str, Any] = {"classes": count, "classes_drawn": "uniformly"}
    if class_shares is not None:
        settings |= {"classes_drawn": "by their shares", "class_shares": (shares / shares.sum()).tolist()}
    return ClassPlan(torch.from_numpy(rng.permutation(drawn).astype(np.int64)), settings)


class _OfClasses:
    """A conditional generator whose pictures are of given classes."""

    def __init__(self, generator: Any, labels: Tensor) -> None:
        self.generator, self.labels = generator, labels
        self.spaces: Mapping[str, Any] = generator.spaces

    def sample_latents(self, n: int, **options: Any) -> Any:
        return self.generator.sample_latents(n, label=self.labels, **options)

    def __call__(self, latents: Any, *, space: str | None = None) -> Any:
        # of a later space, the latents themselves are of a class
        first = space is None or space == next(iter(self.spaces))
        return self.generator(latents, space=space, **({"label": self.labels} if first else {}))
