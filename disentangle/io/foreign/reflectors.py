"""HouseholderGAN's factors, products of as many reflections as a matrix has rows, as the fewer that a rank needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.nn.frames import reflectors_of_frame

__all__ = ["reflector_product", "with_frames"]

_LARGEST = 4096  # rows of a factor; its product takes their cube of operations


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


def with_frames(
    state: dict[str, Tensor], layers: Sequence[str], rank: int, order: Literal["usv", "vsu"]
) -> dict[str, Tensor]:
    """The tensors with the factors ``affine.U`` and ``affine.V`` of the layers as a projected layer stores them.

    The weight ``H(U) S H(V)`` has ones on the first ``rank`` places of S, so that those columns of the one product and
    rows of the other are all of it. In the order "vsu" the two change places where they are equally large.

    Raises:
        CheckpointError: if factors are not square or smaller than the rank.
    """
    made = dict(state)
    for layer in layers:
        prefix = f"synthesis.{layer}.affine."
        outer, inner = made.pop(f"{prefix}U"), made.pop(f"{prefix}V")
        if order == "vsu" and len(outer) == len(inner):
            outer, inner = inner, outer
        for factor in (outer, inner):
            if factor.ndim != 2 or factor.shape[0] != factor.shape[1] or not rank <= len(factor) <= _LARGEST:
                raise CheckpointError(
                    f"the factors of its orthogonal layer {layer} have shapes {tuple(outer.shape)} and "
                    f"{tuple(inner.shape)}; expected square ones of {rank}, the rank, to {_LARGEST:,} rows."
                )
        left, left_signs = reflectors_of_frame(reflector_product(outer.double())[:, :rank])
        right, right_signs = reflectors_of_frame(reflector_product(inner.double())[:rank].mT)
        made[f"{prefix}parametrizations.weight.original0"] = left.float()
        made[f"{prefix}parametrizations.weight.original1"] = right.float()
        made[f"{prefix}parametrizations.weight.0.S"] = (left_signs * right_signs).float()
    return made
