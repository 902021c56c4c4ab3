"""Matrices with orthonormal rows: distance, normal field and the two tangent projections the newer treatments use.

All functions take ``X`` (r, n) and ``G`` (r, n) with r <= n and use products through (r, r) only. A tall weight is
transposed first, which turns orthonormal columns into rows and every formula below into its mirror image.
"""

from __future__ import annotations

from torch import Tensor

from disentangle.linalg.matrices import excess

__all__ = ["excess", "normal_field", "relative_gradient", "riemannian_gradient"]


def normal_field(X: Tensor) -> Tensor:
    """``N(X) = (X X^T - I) X``, the gradient of ``||X X^T - I||^2 / 4``; zero where the rows are orthonormal."""
    return excess(X) @ X


def relative_gradient(X: Tensor, G: Tensor) -> Tensor:
    """``X skew(X^T G) = (X X^T G - X G^T X) / 2``: tangent to ``{Y: Y Y^T = X X^T}`` at *any* X, orthonormal or not.

    Since ``X^T (X X^T - I) X`` is symmetric, it is orthogonal to :func:`normal_field`, and moving along it changes
    ``X X^T`` in second order only. The skew factor stands on the long side: ``skew(G X^T) X``, with it on the short
    one, would never leave the span of the rows that X begins with.

    Source: Gao, Vary, Ablin, Absil, "Optimization flows landing on the Stiefel manifold", 2022; for square X it is the
    field of Ablin and Peyré, AISTATS 2022, of the transposed matrix.
    """
    return 0.5 * ((X @ X.mT) @ G - (X @ G.mT) @ X)


def riemannian_gradient(X: Tensor, G: Tensor) -> Tensor:
    """``G - sym(G X^T) X``: the orthogonal projection of G on the tangent space at an X with orthonormal rows.

    Source: Absil, Mahony, Sepulchre, "Optimization Algorithms on Matrix Manifolds", 2008, section 3.6.1.
    """
    cross = G @ X.mT
    return G - 0.5 * (cross + cross.mT) @ X
