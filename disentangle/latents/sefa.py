"""SeFa: directions from the weights alone, in closed form.

Source: Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021: the directions a layer
amplifies most are the leading singular vectors of its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disentangle.checks import check_integer
from disentangle.errors import ArgumentError, InputError
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.method import DirectionMethod, keywords_of
from disentangle.looking import looks_at
from disentangle.models.base import Generator, StyleLayer
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "sefa", "with_fixed_signs"]


@checks_arguments
@looks_at("generator")
def sefa(
    generator: Generator, *, top: int | None = None, layers: Sequence[int] | None = None, normalize: bool = True,
    torgb: bool | None = None,
) -> Directions:  # fmt: skip
    """The directions that the chosen layers amplify most, strongest first.

    In a StyleGAN the weights of the chosen affine layers are stacked, as stored, and the directions live in w; in other
    generators the first layer counts, and they live in z. Singular vectors come from a singular value decomposition in
    float64; the largest entry of each is positive, so that the answer does not depend on the machine.

    Where affine layers are orthogonal (:class:`disentangle.nn.HouseholderProjection`) their singular values are all
    equal and the ranking means nothing: take :func:`disentangle.latents.basis`.

    Args:
        generator: any generator with projections.
        top: how many directions; 10 by default, or all where there are fewer.
        layers: rows of w+ whose layers count, and which the directions will move; all by default.
        normalize: divide the weights of each style channel (each feature) by their norm, so that all count alike, as
            the authors' code does; rosinality's and HouseholderGAN's factorisation does not.
        torgb: whether the layers to the image count. By default as in either published code: normalised, only the one
            that ends the network; otherwise, where all layers count, only the first of several, which rosinality's
            filter of names lets through, and where some were chosen, none.

    Raises:
        InputError: if there is no such layer, or fewer directions than asked for.
    """
    if hasattr(generator, "style_layers"):
        chosen = _chosen(generator.style_layers(), layers, torgb, last=normalize)
        matrix = torch.cat([_stored(layer) for layer in chosen])
        space, coordinates = "w", tuple(range(matrix.shape[1]))
    else:
        if layers is not None:
            raise InputError("layers were given, but this generator has no w+; leave them out.")
        projection = next(iter(generator.projections().values()), None)
        if projection is None:
            raise InputError("this generator names no projection, whose weight SeFa reads; expected one.")
        matrix, space, coordinates = projection.matrix(), projection.space, projection.coordinates
    top = min(10, *matrix.shape) if top is None else check_integer("top", top)
    if not 1 <= top <= min(matrix.shape):
        raise ArgumentError(
            f"top is {top}; expected 1 to {min(matrix.shape)} for a weight of {' x '.join(map(str, matrix.shape))}."
        )
    weights = matrix.detach().to("cpu", torch.float64)
    if normalize:
        weights = weights / weights.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    found = with_fixed_signs(torch.linalg.svd(weights, full_matrices=False)[2][:top])
    vectors = torch.zeros(top, generator.spaces[space].size)
    vectors[:, list(coordinates)] = found.to(torch.float32)
    return Directions(
        vectors=vectors, space=space, labels=tuple(f"sefa {i}" for i in range(top)), method="sefa",
        scale=torch.ones(top), layers=None if layers is None else tuple(sorted(set(layers))),
        generator=fingerprint(generator, space),
    )  # fmt: skip


def _chosen(
    layers: tuple[StyleLayer, ...], rows: Sequence[int] | None, torgb: bool | None, *, last: bool
) -> list[StyleLayer]:
    if not layers:
        raise InputError("this generator names no layer that reads w, whose weights SeFa reads; expected some.")
    count = max(layer.ws_index for layer in layers) + 1
    wrong = [row for row in rows or () if not 0 <= row < count]
    if wrong:
        raise InputError(f"there is no layer {wrong[0]}; expected 0 to {count - 1}.")
    to_image = [layer.name for layer in layers if layer.kind == "torgb"]
    counted = set(to_image) if torgb else set()
    if torgb is None and last:
        counted = {layers[-1].name}
    elif torgb is None and rows is None and len(to_image) > 1:
        counted = {to_image[0]}
    chosen = [
        layer
        for layer in layers
        if (rows is None or layer.ws_index in rows) and (layer.kind == "conv" or layer.name in counted)
    ]
    if not chosen:
        raise InputError(f"none of the layers {list(rows or ())} counts; layers to the image take torgb=True.")
    return chosen


def _stored(layer: StyleLayer) -> Tensor:
    affine: Any = layer.affine
    return affine.matrix()


def with_fixed_signs(vectors: Tensor) -> Tensor:
    """Rows turned so that the entry of the largest magnitude is positive, the first of equal ones."""
    largest = vectors.abs().argmax(dim=1, keepdim=True)
    return vectors * torch.where(vectors.gather(1, largest) < 0, -1.0, 1.0).to(vectors)


def _find(generator: Generator, *, space: str | None = None, **options: Any) -> Directions:
    found = sefa(generator, **options)
    if space not in (None, found.space):
        raise ArgumentError(f"sefa finds directions in {found.space!r} on this model, not in {space!r}.")
    return found


METHOD = DirectionMethod(
    "sefa",
    "Along which the layers that read the latent change most, from their weights alone.",
    _find,
    options=("space", *keywords_of(sefa)),
)
