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

from disentangle.errors import InputError, reason
from disentangle.linalg.derivative import difference_quotient, directional_derivative

__all__ = ["Pullback"]

logger = logging.getLogger(__name__)

_MOST = 2**29  # bytes of derivatives of one latent that are held at once


class Pullback:
    """Metrics of latents, from the derivatives of features along given moves.

    Args:
        features: latents (n, *shape) to features (n, ...) whose squared differences are the distance.
        latents: (n, *shape) where the metric is taken.
        moves: (k, *shape) what one unit of each coordinate adds to a latent.
        batch: pictures made at once.
        progress: called with (pictures done, pictures in all).

    Attributes:
        pictures: how many :meth:`metrics` makes, each with its derivative along one move.
    """

    def __init__(
        self, features: Callable[[Tensor], Tensor], latents: Tensor, moves: Tensor, *, batch: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.features, self.latents, self.moves = features, latents, moves.to(latents)
        self.batch, self.progress = batch, progress
        self.pictures = len(latents) * len(moves)
        self._derivative = directional_derivative
        self._tried = False

    def metrics(self) -> Iterator[Tensor]:
        """(k, k) float64 on the CPU, ``J^T M J`` of each latent in turn.

        Raises:
            InputError: if the pictures have no derivative, or one that is not finite or too large to be held.
        """
        k, done = len(self.moves), 0
        together = max(self.batch // k, 1)
        for points in self.latents.split(together):
            point = points.repeat_interleave(k, dim=0)
            move = self.moves.repeat(len(points), *[1] * (self.moves.ndim - 1))
            columns = []
            for start in range(0, len(point), self.batch):
                part = self._along(point[start : start + self.batch], move[start : start + self.batch])
                if part[0].numel() * part.element_size() * k > _MOST:
                    raise InputError(
                        f"the derivatives of one picture along {k:,} coordinates take more than {_MOST // 2**20} MiB; "
                        "ask for fewer axes than coordinates with rank, or measure smaller features."
                    )
                columns.append(part)
                done += len(part)
                if self.progress is not None:
                    self.progress(done, self.pictures)
            for jacobian in torch.cat(columns).split(k):
                yield _gram(jacobian)

    def _along(self, points: Tensor, moves: Tensor) -> Tensor:
        """(n, features) derivatives at each point along its own move."""
        if not self._tried:
            self._tried = True
            try:
                return self._checked(directional_derivative(self.features, points, moves))
            except (NotImplementedError, RuntimeError) as error:
                if isinstance(error, torch.OutOfMemoryError | InputError):
                    raise
                quotient = difference_quotient(self.features, points, moves)  # one that runs at all
                logger.warning(
                    "The generator has no derivative in forward mode (%s): differences are taken instead, which are "
                    "right to about four digits in single precision.", reason(error),
                )  # fmt: skip
                self._derivative = difference_quotient
                return self._checked(quotient)
        return self._checked(self._derivative(self.features, points, moves))

    def _checked(self, derivatives: Tensor) -> Tensor:
        if derivatives.is_complex():
            raise InputError("the generator makes complex pictures; expected real ones.")
        return derivatives.flatten(1)


def _gram(jacobian: Tensor) -> Tensor:
    """(k, k) float64 scalar products of (k, features) rows."""
    if jacobian.device.type == "mps":  # which has no double precision
        jacobian = jacobian.cpu()
    products = torch.zeros(len(jacobian), len(jacobian), dtype=torch.float64, device=jacobian.device)
    for part in jacobian.split(2**16, dim=1):
        wide = part.double()
        products.addmm_(wide, wide.mT)
    return products.cpu()
