"""The metric that a distance of pictures induces in a latent space: ``J^T M J``, with J the pictures' derivative.

Its eigenvectors are the axes along which a small step changes the pictures most and least (Wang and Ponce, "The
Geometry of Deep Generative Image Models and its Applications", ICLR 2021). A distance is taken as squared differences
of features, ``d(x, y) = |f(x) - f(y)|^2``, so that M is their own quadratic form and ``J^T M J`` the Gram matrix of the
features' derivatives; of pixels f is the identity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from disentangle.errors import DisentangleError, InputError, reason
from disentangle.linalg.derivative import difference_quotient, directional_derivative

__all__ = ["Pullback"]

logger = logging.getLogger(__name__)

_MOST = 2**29  # bytes of derivatives of one latent that are held at once


class Pullback:
    """Metrics of latents in some of their coordinates.

    Derivatives are exact, in forward mode, many latents and coordinates at once. Where an operation has none in forward
    mode, central differences are taken instead, and a warning says so.

    Args:
        features: latents (n, *shape) to features (n, ...) whose squared differences are the distance.
        latents: (n, *shape) where the metric is taken.
        positions: (k, m) which numbers of the flattened latent each coordinate moves; m is 1 but where rows of w+ move
            together.
        batch: pictures made at once, which bounds the memory.
        progress: called with (pictures done, pictures in all).

    Attributes:
        pictures: how many :meth:`metrics` makes, each with a derivative.

    Raises:
        InputError: if the features are complex.
    """

    def __init__(
        self, features: Callable[[Tensor], Tensor], latents: Tensor, positions: Tensor, *, batch: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.features, self.positions = features, positions.to(latents.device)
        # what was made in inference mode cannot carry a derivative, a copy can
        with torch.inference_mode(False):
            self.latents = latents.clone()
        self.batch, self.progress, self.total, self._done = batch, progress, 0, 0
        with torch.no_grad():
            one = features(self.latents[:1])
        if one.is_complex():
            raise InputError("the generator makes complex pictures; expected real ones.")
        self.held = one.numel() * one.element_size() * len(positions) <= _MOST
        self._derivative = directional_derivative
        self._tried = False

    @property
    def pictures(self) -> int:
        return self.pictures_of_products(len(self.positions)) // (2 if self.held else 1)

    def pictures_of_products(self, vectors: int) -> int:
        """How many :meth:`product` makes: each vector takes a derivative forward and one back."""
        return 2 * len(self.latents) * vectors

    def metrics(self) -> Iterator[Tensor]:
        """(k, k) float64 on the CPU, ``J^T M J`` of each latent in turn.

        Derivatives of one latent along all coordinates are held where they take up to 512 MiB; else the metric's
        products with the coordinates are, for twice the pictures.
        """
        k = len(self.positions)
        units = torch.eye(k, dtype=self.latents.dtype, device=self.latents.device)
        if not self.held:
            for latent in self.latents.split(1):
                yield self._products(latent, units)
            return
        for points in self.latents.split(max(self.batch // k, 1)):
            pairs = zip(*(x.split(self.batch) for x in (_each(points, k), units.repeat(len(points), 1))), strict=True)
            jacobians = torch.cat([self._along(*pair).flatten(1) for pair in pairs])
            for jacobian in jacobians.split(k):
                yield _gram(jacobian)

    def product(self, vectors: Tensor) -> Tensor:
        """(l, k) vectors times the mean metric, (l, k) float64 on the CPU.

        Raises:
            InputError: if the pictures have no derivative in reverse mode.
        """
        rows = vectors.to(self.latents)
        return torch.stack([self._products(latent, rows) for latent in self.latents.split(1)]).mean(0)

    def _products(self, latent: Tensor, vectors: Tensor) -> Tensor:
        """(l, k) ``v J^T M J`` of one latent: the derivative along v, carried back."""
        found = []
        for part in vectors.split(self.batch):
            points = _each(latent, len(part))
            along = self._along(points, part)
            found.append(self._back(points, along).to("cpu", torch.float64))
            self._count(len(part))
        return torch.cat(found)

    def _along(self, points: Tensor, vectors: Tensor) -> Tensor:
        """(n, ...) derivatives of the features at each point along its own (n, k) vector."""
        moves = torch.zeros_like(points).flatten(1)
        moves[:, self.positions] = vectors[:, :, None].expand(-1, *self.positions.shape)
        moves = moves.reshape(points.shape)
        if self._tried:
            found = self._derivative(self.features, points, moves)
        else:
            self._tried = True
            try:
                found = directional_derivative(self.features, points, moves)
            except (NotImplementedError, RuntimeError) as error:
                if isinstance(error, DisentangleError | torch.OutOfMemoryError):
                    raise
                found = difference_quotient(self.features, points, moves)  # raises what the generator itself raises
                self._derivative = difference_quotient
                logger.warning(
                    "The generator has no derivative in forward mode (%s): differences are taken instead, which are "
                    "right to about four digits in single precision.", reason(error),
                )  # fmt: skip
        self._count(len(points))
        return found

    def _back(self, points: Tensor, changes: Tensor) -> Tensor:
        """(n, k) the (n, ...) changes of the features times J, in reverse mode."""
        with torch.inference_mode(False), torch.enable_grad():
            points = points.detach().clone().requires_grad_()
            try:
                made = self.features(points)
                if not made.requires_grad:  # which says so in the words of metrics that are zero
                    return torch.zeros(len(points), len(self.positions), device=points.device)
                (gradient,) = torch.autograd.grad(made, points, changes.clone())
            except (NotImplementedError, RuntimeError) as error:
                if isinstance(error, DisentangleError | torch.OutOfMemoryError):
                    raise
                raise InputError(
                    f"The generator has no derivative in reverse mode ({reason(error)}), which spaces or pictures this "
                    "large need; take fewer coordinates, or load it outside of inference mode."
                ) from None
        return gradient.flatten(1)[:, self.positions].sum(-1)

    def _count(self, pictures: int) -> None:
        self._done += pictures
        if self.progress is not None:
            self.progress(self._done, self.total)


def _each(points: Tensor, times: int) -> Tensor:
    return points.repeat_interleave(times, dim=0)


def _gram(jacobian: Tensor) -> Tensor:
    """(k, k) float64 scalar products of (k, features) rows."""
    if jacobian.device.type == "mps":  # which has no double precision
        jacobian = jacobian.cpu()
    products = torch.zeros(len(jacobian), len(jacobian), dtype=torch.float64, device=jacobian.device)
    for part in jacobian.split(2**16, dim=1):
        wide = part.double()
        products.addmm_(wide, wide.mT)
    return products.cpu()
