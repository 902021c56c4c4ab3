"""Latent projections: the layers that carry a latent into features."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.nn.derived import Derived

__all__ = ["HouseholderProjection", "SubspaceProjection", "reflector_product", "reflectors_of"]


class SubspaceProjection(nn.Module):
    """EigenGAN's linear subspace of a feature space: ``phi(z) = (L * z) U + mu``.

    Source: He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021, equation 1.

    Args:
        basis: number of directions k, at most ``features``.
        features: dimension of the feature space.

    Attributes:
        U: (k, features) basis, rows orthonormal at the start.
        L: (k,) importance of each direction, 3k, 3(k-1), ..., 3 at the start.
        mu: (features,) origin of the subspace.
    """

    def __init__(self, basis: int, features: int) -> None:
        super().__init__()
        self.U = nn.Parameter(nn.init.orthogonal_(torch.empty(basis, features)))
        self.L = nn.Parameter(3.0 * torch.arange(basis, 0, -1, dtype=torch.float32))
        self.mu = nn.Parameter(torch.zeros(features))

    def forward(self, z: Tensor) -> Tensor:
        """(n, k) coordinates to (n, features)."""
        return torch.addmm(self.mu, self.L * z, self.U)

    def matrix(self) -> Tensor:
        """(features, k): the linear map from coordinates to features, ``U^T diag(L)``."""
        return (self.L.unsqueeze(1) * self.U).mT

    def extra_repr(self) -> str:
        return f"basis={self.U.shape[0]}, features={self.U.shape[1]}"


def reflector_product(vectors: Tensor) -> Tensor:
    """Orthogonal (n, n) product ``H_1 H_2 ... H_m`` of reflections ``I - 2 v v^T`` along the columns of ``vectors``.

    By the compact WY form ``I - V T V^T``, T the inverse of the triangle of V^T V with halves on its diagonal: one
    triangular solve (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989). A zero column stands for no
    reflection. Differentiable.

    Args:
        vectors: (n, m), of any length each.

    >>> reflector_product(torch.tensor([[1.0], [0.0]]))
    tensor([[-1.,  0.],
            [ 0.,  1.]])
    """
    if vectors.dtype in (torch.float16, torch.bfloat16):  # in which nothing is solved
        return reflector_product(vectors.float()).to(vectors.dtype)
    n, m = vectors.shape
    norms = vectors.norm(dim=0, keepdim=True)
    v = vectors / torch.where(norms > 0, norms, 1)
    triangle = torch.triu(v.mT @ v, diagonal=1) + 0.5 * torch.eye(m, dtype=v.dtype, device=v.device)
    return torch.eye(n, dtype=v.dtype, device=v.device) - v @ torch.linalg.solve_triangular(triangle, v.mT, upper=True)


def reflectors_of(orthogonal: Tensor) -> Tensor:
    """Vectors (n, n) whose :func:`reflector_product` is the given orthogonal matrix (n, n).

    Each reflection takes what is left of a column to a unit vector. Where it lies there already nothing is reflected,
    and the column of the answer is zero.
    """
    rest = orthogonal.detach().to(torch.float64).clone()
    n = len(rest)
    vectors = torch.zeros_like(rest)
    for i in range(n):
        v = rest[:, i].clone()
        v[:i] = 0
        v[i] -= 1
        if v.norm() > 1e-12:
            v /= v.norm()
            rest -= 2 * torch.outer(v, v @ rest)
            vectors[:, i] = v
    return vectors.to(orthogonal.dtype)


class HouseholderProjection(nn.Module):
    """Linear layer of weight ``H(U) S H(V)``: orthogonal of rank k, whatever the optimizer does to U and V.

    Source: Song, Zhang, Sebe, Wang, "Householder Projector for Unsupervised Latent Semantics Discovery", ICCV 2023. S
    has k ones on its diagonal, and H multiplies the reflections along the columns of its argument.

    Args:
        inputs, outputs: dimensions; any, equal or not.
        rank: k, at most the smaller of the two.
        order: ``"usv"``; ``"vsu"`` computes ``H(V) S H(U)`` and is defined where inputs and outputs are equal.
        bias: value the bias starts at.

    Attributes:
        U: (outputs, outputs) reflectors.
        V: (inputs, inputs) reflectors.
        bias: (outputs,).

    Raises:
        InputError: if the rank does not fit or the order is unknown.
    """

    def __init__(
        self, inputs: int, outputs: int, *, rank: int = 10, order: Literal["usv", "vsu"] = "usv", bias: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= rank <= min(inputs, outputs):
            raise InputError(
                f"rank is {rank}; expected 1 to {min(inputs, outputs)} for {inputs} to {outputs} features."
            )
        if order not in ("usv", "vsu"):
            raise InputError(f"order is {order!r}; expected 'usv' or 'vsu'.")
        self.U = nn.Parameter(torch.randn(outputs, outputs))
        self.V = nn.Parameter(torch.randn(inputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.rank, self.order = rank, order
        self._built = Derived()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) to (n, outputs)."""
        return F.linear(x, self.matrix(), self.bias)

    def matrix(self) -> Tensor:
        """(outputs, inputs): the weight, kept while U and V stay the same and need no gradient."""
        if torch.is_grad_enabled() and (self.U.requires_grad or self.V.requires_grad):
            return self._product(self.U, self.V)
        return self._built(self._product, self.U, self.V)

    def fit(self, weight: Tensor) -> None:
        """Make the layer pass the leading singular directions of a (outputs, inputs) weight, all equally strongly.

        Both reflector products become the weight's singular vectors, so that the weight is the nearest of its rank
        with singular values of one.
        """
        if weight.shape != (len(self.U), len(self.V)):
            raise InputError(f"weight has shape {tuple(weight.shape)}; expected ({len(self.U)}, {len(self.V)}).")
        left, _, right = torch.linalg.svd(weight.detach().to(torch.float64))
        first, last = (self.V, self.U) if self._swapped else (self.U, self.V)
        with torch.no_grad():
            first.copy_(reflectors_of(left))
            last.copy_(reflectors_of(right))

    def basis(self) -> Tensor:
        """(rank, inputs) orthonormal rows: the directions of the input that the layer passes, one by one.

        Their singular values are all 1, so no singular value decomposition could tell them from a rotation of them.
        """
        return reflector_product(self.U if self._swapped else self.V)[: self.rank]

    def _product(self, U: Tensor, V: Tensor) -> Tensor:
        first, last = (V, U) if self._swapped else (U, V)
        return reflector_product(first)[:, : self.rank] @ reflector_product(last)[: self.rank]

    @property
    def _swapped(self) -> bool:
        # The authors' last code takes the other order for outputs <= inputs, where only equal ones can be multiplied.
        return self.order == "vsu" and len(self.U) == len(self.V)

    def extra_repr(self) -> str:
        return f"{len(self.V)}, {len(self.U)}, rank={self.rank}, order={self.order!r}"
