"""HouseholderGAN's factors, products of as many reflections as a matrix has rows, as the fewer that a rank needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.nn.frames import reflectors_of_frame
from disentangle.text import shown

__all__ = ["Order", "order_of", "rank_of", "reflector_product", "with_frames"]

Order = Literal["auto", "usv", "vsu"]

_PUBLISHED = 10  # the rank of its projections
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


def rank_of(given: int | None, stated: int | None) -> int:
    """The rank of HouseholderGAN's projections: the file's, else the caller's, else the published one.

    Raises:
        CheckpointError: if the caller gives another one than the file.
    """
    if stated is not None and given not in (None, stated):
        raise CheckpointError(f"the file states the rank {stated}, so that {given} cannot be; leave --rank out.")
    return stated or given or _PUBLISHED


def order_of(given: Order, state: Mapping[str, Tensor], used: Mapping[str, Tensor], rank: int) -> Literal["usv", "vsu"]:
    """The order of the factors: as the weights show that a file's layers were last used with, else the caller's.

    Only where outputs and inputs are equally many are there two; a weight of an earlier step of training is nearer to
    the one it was than to the other.

    Args:
        given: by the caller; "auto" for what the file shows.
        state: tensors with the factors.
        used: weights by the layers' names.
        rank: of the projections.

    Raises:
        CheckpointError: if the caller gives another order than the weights show, or none where nothing shows it.
    """
    for layer, weight in used.items():
        outer, inner = (state.get(f"synthesis.{layer}.affine.{factor}") for factor in "UV")
        square = outer is not None and inner is not None and outer.ndim == 2 and rank <= len(outer) <= _LARGEST
        if outer is None or inner is None or not square or not outer.shape == inner.shape == weight.shape:
            continue
        left, right = reflector_product(outer.double()), reflector_product(inner.double())
        usv, vsu = left[:, :rank] @ right[:rank], right[:, :rank] @ left[:rank]
        shown_order: Literal["usv", "vsu"] = "usv" if (weight - usv).norm() <= (weight - vsu).norm() else "vsu"
        if given not in ("auto", shown_order):
            raise CheckpointError(
                f"the weight that its layer {layer} was last used with is that of the order {shown_order}, so that "
                f"{given} cannot be; leave --order out."
            )
        return shown_order
    names = [name for name in state if name.endswith(".affine.U") and f"{name[:-1]}V" in state]
    pairs = {name: (len(state[name]), len(state[f"{name[:-1]}V"])) for name in names}
    narrow = [name for name, (outputs, inputs) in pairs.items() if outputs < inputs]
    if narrow:  # for which the other order is none
        if given == "vsu":
            raise CheckpointError(
                f"the order vsu is not defined for its layer {_called(narrow[0])}, which maps {pairs[narrow[0]][1]} "
                "numbers to fewer; leave --order out."
            )
        return "usv"
    if given != "auto":
        return given
    equal = [name for name, (outputs, inputs) in pairs.items() if outputs == inputs]
    if equal:
        raise CheckpointError(
            f"its orthogonal layer {_called(equal[0])} can be made in two orders, and nothing in the file says in "
            "which: give --order usv, that of the files that HouseholderGAN's authors released, or --order vsu, that "
            "of their last code."
        )
    return "usv"


def _called(factor: str) -> str:
    return shown(factor.removeprefix("synthesis.").removesuffix(".affine.U"), most=80)


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
        if f"{prefix}V" not in made:
            raise CheckpointError(f"its orthogonal layer {layer} has one factor of two; it is damaged.")
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
