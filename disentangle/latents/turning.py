"""The same generator with its z rotated, so that its coordinates are axes of one's choice.

With z normal, and its first layer linear, ``W z`` and ``(W R^T) (R z)`` are one: a rotation costs nothing, changes
neither the pictures nor their distribution, and is no training. What orthogonality of a weight, or of a Jacobian, is
worth is therefore what a generator has beyond the best rotation of one that was trained without.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.latents.directions import Directions
from disentangle.latents.jacobian import jacobian_axes, parts_of
from disentangle.latents.traversal import check_fit
from disentangle.looking import looking_at, own_randomness
from disentangle.models.base import class_option
from disentangle.signatures import checks_arguments

__all__ = ["rotation", "turn"]

GeneratorT = TypeVar("GeneratorT")

_CLOSE = {torch.float64: 1e-6, torch.float32: 1e-2}  # share of the pictures' spread that rounding may make; else 0.2
_TRIED = 8  # latents


@checks_arguments
def rotation(generator: Any, axes: Directions) -> Tensor:
    """(d, d) float64 matrix R whose coordinate i of ``R z`` is z along the i-th axis, and what is not walked stays.

    Args:
        generator: whose z the axes live in.
        axes: as many as there are walked coordinates, orthonormal, each within one part (an EigenGAN's block): the i-th
            of a part becomes its i-th coordinate.

    Raises:
        InputError: if they are not.
    """
    if axes.space != "z":
        raise InputError(
            f"the axes live in {axes.space!r}; expected some of 'z': no other space has a distribution that a rotation "
            "leaves as it is. Walk them as directions instead."
        )
    space = check_fit(generator, axes)
    found = torch.eye(space.size, dtype=torch.float64)
    vectors = axes.vectors.to("cpu", torch.float64)
    placed = 0
    for name, coordinates in parts_of(generator, space).items():
        inside = torch.zeros(space.size, dtype=torch.bool)
        inside[list(coordinates)] = True
        rows = vectors[vectors[:, inside].abs().amax(1) > 0]
        if len(rows) != len(coordinates) or float(rows[:, ~inside].abs().max() if (~inside).any() else 0) > 1e-5:
            raise InputError(
                f"{len(rows)} of the axes move {name or 'z'}, which has {len(coordinates)} coordinates that are walked;"
                " expected as many, and that they move nothing else."
            )
        block = rows[:, list(coordinates)]
        if float((block @ block.mT - torch.eye(len(block), dtype=torch.float64)).abs().max()) > 1e-4:
            raise InputError(f"the axes are not orthonormal{f' in {name}' if name else ''}; expected a rotation.")
        left, _, right = torch.linalg.svd(block)  # to float64's rounding, whatever they were stored in
        found[torch.tensor(coordinates)[:, None], torch.tensor(coordinates)] = left @ right
        placed += len(rows)
    if placed != len(axes):
        raise InputError(f"{len(axes)} axes were given, of which {placed} move what is walked; expected all.")
    return found


@checks_arguments
def turn(
    generator: GeneratorT, *, axes: Directions | None = None, metric: Any = "pixels", samples: int = 256,
    criterion: Literal["mean", "joint"] = "mean", seed: int = 0, label: int | None = None, batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> GeneratorT:  # fmt: skip
    """A copy whose coordinates of z are ``axes``, by default its Jacobian's: ``turned(R z)`` is ``generator(z)``.

    R is :func:`rotation` of the axes. The copy is of the same kind and size, ``disentangle.save`` writes it like any
    other, and its configuration's ``turned`` tells it from the original, so that directions of one are refused by the
    other. In an EigenGAN ``diag(L) U`` turns, and the rows of U stay of length one but not orthogonal. A VAE's encoder
    turns too; its means exactly, its variances as :func:`disentangle.models.ops.posteriors.turn_posterior` says.
    Orthogonal weights that read z become plain ones.

    Args:
        generator: with a normal z that a linear layer reads (of a StyleGAN: its mapping).
        axes: :class:`Directions` in z; by default those of :func:`~disentangle.latents.jacobian_axes`, which the
            other arguments are for.
        metric, samples, criterion, seed, label, batch, progress: see there.

    Raises:
        InputError: if a rotation changes the distribution of z, nothing can take it in, or the axes do not fit.

    >>> from disentangle.models import build_model
    >>> model = build_model({"kind": "gan", "resolution": 8, "channels": [4, 4], "latent_dim": 3}, seed=0)
    >>> axes = jacobian_axes(model, samples=4)
    >>> turned, z = turn(model, axes=axes), model.sample_latents(2)
    >>> bool((turned(z @ rotation(model, axes).float().mT) - model(z)).abs().max() < 1e-5)
    True
    """
    own: Any = generator
    if "z" not in getattr(generator, "spaces", {}):
        raise InputError(f"a {type(generator).__name__} has no z; expected a generator.")
    space = own.spaces["z"]
    if not space.isotropic:
        prior = "uniform in some coordinates" if space.prior == "normal" else space.prior
        raise InputError(
            f"z of this generator is {prior}, a distribution that a rotation changes: its corners would lie elsewhere. "
            "Only a normal z can be turned; walk the axes as directions instead."
        )
    if not hasattr(generator, "turn_latents"):
        raise InputError(f"a {type(generator).__name__} says no way to turn its z; disentangle.wrap its module first.")
    if axes is None:
        axes = jacobian_axes(
            own, space="z", metric=metric, samples=samples, criterion=criterion, seed=seed, label=label, batch=batch,
            progress=progress,
        )  # fmt: skip
    R = rotation(own, axes)
    turned = copy.deepcopy(generator)
    told: Any = turned
    told.turn_latents(R)
    before = getattr(getattr(own, "config", None), "turned", None) or getattr(own, "turned", None) or ""
    mark = hashlib.sha256(before.encode() + (1e6 * R).round().long().numpy().tobytes()).hexdigest()[:8]
    if hasattr(getattr(own, "config", None), "turned"):
        told.config = told.config.model_copy(update={"turned": mark})
    else:
        told.turned = mark
    _check_same(own, told, R, class_option(own, label))
    return turned


def _check_same(before: Any, after: Any, R: Tensor, options: dict[str, Any]) -> None:
    """An InputError unless both make the same pictures, as where z is read in more places than one they do not."""
    if getattr(before, "c_dim", 0) and not options and getattr(before, "label", None) is None:
        options = {"label": 0}
    with looking_at(before, after), torch.no_grad():
        latents = before.sample_latents(_TRIED, space="z", generator=torch.Generator().manual_seed(0), **options)
        moved = (latents.flatten(1).double() @ R.to(latents.device).mT).reshape(latents.shape).to(latents)
        pictures = []
        for model, points in ((before, latents), (after, moved)):
            with own_randomness():  # a module may draw noise
                pictures.append(model(points, space="z", **options).double())
    spread = float((pictures[0] - pictures[0].mean(0)).square().mean().sqrt())
    error = float((pictures[1] - pictures[0]).square().mean().sqrt())
    if not error <= _CLOSE.get(latents.dtype, 0.2) * spread + 1e-7:
        raise InputError(
            "the turned generator makes other pictures: its z is read by more than the one layer that was turned, or "
            "not as it is; it cannot be turned. Walk the axes as directions instead."
        )
