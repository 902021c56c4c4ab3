"""Joint diagonalisation and randomised eigenpairs, against matrices made of what should be found."""

from __future__ import annotations

import pytest
import torch

from disentangle.errors import InputError
from disentangle.linalg.joint_diagonalization import joint_diagonalization
from disentangle.linalg.randomized_eigen import products_needed, randomized_eigenpairs


def rotation(k: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(k, k, generator=torch.Generator().manual_seed(k), dtype=torch.float64))[0]


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_matrices_of_one_basis_give_it(k):
    basis = rotation(k)
    numbers = torch.rand(4, k, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    numbers = numbers[:, numbers.mean(0).argsort(descending=True)]
    V, diagonals = joint_diagonalization(basis @ torch.diag_embed(numbers) @ basis.mT)
    torch.testing.assert_close((V * basis).sum(0).abs(), torch.ones(k, dtype=torch.float64))
    torch.testing.assert_close(diagonals, numbers)


def test_a_start_between_two_best_angles_is_left():
    """Both are diagonal after an eighth of a turn; unturned the sum off the diagonals does not change at first."""
    matrices = torch.tensor([[[1.0, 1], [1, 1]], [[1, -1], [-1, 1]]], dtype=torch.float64)
    V, diagonals = joint_diagonalization(matrices)
    torch.testing.assert_close(V.abs(), torch.full((2, 2), 0.5**0.5, dtype=torch.float64))
    torch.testing.assert_close(diagonals.sort(1).values, torch.tensor([[0.0, 2], [0, 2]], dtype=torch.float64))


def test_no_other_angle_is_better():
    """In a plane every basis is one angle: the best of many is not better than the one found."""
    matrices = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = matrices + matrices.mT
    angles = torch.linspace(0, 1.6, 2001, dtype=torch.float64)
    c, s = angles.cos(), angles.sin()
    turns = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    tried = (turns.mT[:, None] @ matrices @ turns[:, None])[..., 0, 1].square().sum(1)
    V, _ = joint_diagonalization(matrices)
    found = (V.mT @ matrices @ V)[:, 0, 1].square().sum()
    assert float(found) <= float(tried.min()) * (1 + 1e-9)


def test_equal_directions_and_zero_matrices_stay():
    V, diagonals = joint_diagonalization(torch.zeros(2, 3, 3))
    torch.testing.assert_close(V.abs().sum(0), torch.ones(3, dtype=torch.float64))
    assert not diagonals.any()
    basis = rotation(4)
    both = basis @ torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0]).double()) @ basis.mT
    V, diagonals = joint_diagonalization(torch.stack([both, 3 * both]))
    torch.testing.assert_close(V @ torch.diag(diagonals[0]) @ V.mT, both)


@pytest.mark.parametrize(
    ("matrices", "said"),
    [
        (torch.eye(2), "shape"),
        (torch.zeros(1, 2, 3), "shape"),
        (torch.eye(2, dtype=torch.complex64)[None], "real"),
        (torch.full((1, 2, 2), float("nan")), "NaN"),
        (torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]), "symmetric"),
    ],
)
def test_other_matrices_are_refused(matrices, said):
    with pytest.raises(InputError, match=said):
        joint_diagonalization(matrices)


@pytest.mark.parametrize("rank", [1, 4, 40])
def test_randomised_pairs_lie_within_the_error_they_state(rank):
    basis, numbers = rotation(40), 0.6 ** torch.arange(40, dtype=torch.float64)
    matrix, asked = basis @ torch.diag(numbers) @ basis.mT, []

    def product(rows):
        asked.append(len(rows))
        return rows @ matrix

    found = randomized_eigenpairs(product, 40, rank, generator=torch.Generator().manual_seed(0))
    assert sum(asked) == products_needed(rank, 40)
    assert float((found.values - numbers[:rank]).abs().max()) <= found.residual + 1e-12
    assert found.residual < 1e-3
    if rank < 30:
        assert numbers[rank + 10] <= found.missed < 1
    torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(rank, dtype=torch.float64))
    torch.testing.assert_close(
        (found.vectors @ basis)[0].abs()[0], torch.ones((), dtype=torch.float64), rtol=1e-6, atol=0
    )
