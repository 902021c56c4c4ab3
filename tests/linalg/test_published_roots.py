"""Methods under somebody's name against what that somebody's own code gave; see tests/reference/README.md."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg import matrix_inverse_sqrt, matrix_sqrt
from disentangle.linalg.iterative_roots import quintics
from disentangle.nn import CovariancePool2d, DecorrelatedBatchNorm2d

VALUES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "reference" / "published_roots.json").read_text())
METHODS = Path(__file__).parents[1] / "reference" / "authors_methods.npz"
SVD = VALUES["svd"]
# Their SVD layers give float32.
SINGLE = 1e-7
# The order in which the diagonals of the SVD cases hold their eigenvalues.
ORDER = (3, 0, 5, 1, 4, 2)


def tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def relative(ours: Tensor, theirs: Any) -> float:
    expected = tensor(theirs)
    return float((ours.detach() - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("key", "function", "matrices"),
    [
        ("pade", partial(matrix_sqrt, method="pade"), 2),
        ("taylor", partial(matrix_sqrt, method="taylor"), 2),
        ("pade_inverse", partial(matrix_inverse_sqrt, method="pade"), 1),
    ],
)
def test_pade_and_taylor_roots_and_their_lyapunov_gradients(key, function, matrices):
    P = tensor(VALUES["matrices"])[:matrices].requires_grad_()
    root = function(P)
    (root * tensor(VALUES["weights"])[:matrices]).sum().backward()
    assert relative(root, VALUES["roots"][key]["value"]) < 1e-12
    assert relative(P.grad, VALUES["roots"][key]["gradient"]) < 1e-12


@pytest.mark.parametrize("case", SVD["spectra"])
@pytest.mark.parametrize("method", ["svd_plain", "svd_trunc", "svd_taylor", "svd_pade"])
def test_svd_backwards_at_distinct_repeated_and_zero_eigenvalues(method, case):
    values = [SVD["spectra"][case][i] for i in ORDER]
    P = torch.diag(tensor(values)).requires_grad_()
    root = matrix_sqrt(P, method, floor=2.0**-52 / max(values))
    (root * tensor(SVD["weights"])).sum().backward()
    assert relative(root.triu(), SVD[method][case]["value"]) < SINGLE
    assert relative(P.grad, SVD[method][case]["gradient"]) < SINGLE


@pytest.mark.parametrize("case", SVD["spectra"])
def test_the_fifty_smallest_eigenvalues_are_dropped_as_published(case):
    """The corner of the gradient belongs to the six eigenvalues that stay; its norm to the others, all equal."""
    values = [SVD["spectra"][case][i] for i in ORDER] + [0.001 * (i + 1) for i in range(50)]
    P = torch.diag(tensor(values)).requires_grad_()
    root = matrix_sqrt(P, "svd_top_n", floor=2.0**-52 / max(values))
    weights = torch.from_numpy(np.random.RandomState(22).standard_normal((56, 56))).triu()
    (root * weights).sum().backward()
    theirs = SVD["svd_top_n"][case]
    assert relative(root.triu()[:8, :8], theirs["value"]) < SINGLE
    assert relative(P.grad[:8, :8], theirs["gradient"]["corner"]) < SINGLE
    assert float(P.grad.norm()) == pytest.approx(theirs["gradient"]["norm"], rel=SINGLE)


@pytest.mark.parametrize("method", ["svd_plain", "svd_pade"])
def test_what_takes_the_place_of_infinity_is_the_batch_s(method):
    P = tensor(SVD["two matrices"]).requires_grad_()
    (matrix_sqrt(P, method) * tensor(SVD["weights"])).sum().backward()
    assert relative(P.grad, SVD[method]["two matrices"]["gradient"]) < SINGLE


@pytest.mark.parametrize("steps", [1, 3, 5, 15])
def test_fast_mpn_cov(steps):
    theirs = VALUES["fast_mpn_cov"]
    x = tensor(theirs["features"]).requires_grad_()
    pooled = CovariancePool2d(5, method="isqrt_cov", steps=steps, eps=0.0)(x)
    (pooled * tensor(theirs["weights"])).sum().backward()
    assert relative(pooled, theirs[str(steps)]["value"]) < 1e-14
    assert relative(x.grad, theirs[str(steps)]["gradient"]) < 1e-13


def test_other_steps_of_a_pool():
    x = tensor(VALUES["fast_mpn_cov"]["features"])
    pooled = CovariancePool2d(5, method="isqrt_cov", eps=0.0)(x)
    assert relative(pooled, VALUES["fast_mpn_cov"]["5"]["value"]) < 1e-14
    norm = CovariancePool2d(5, method="newton_schulz", steps=5, eps=0.0)(x)
    assert relative(norm, VALUES["fast_mpn_cov"]["5"]["value"]) > 1e-3


@pytest.mark.parametrize("steps", [6, 9, 12])
def test_the_quintics_of_polar_express(steps):
    """Each of ours is scaled to values up to 1, theirs to values around 1; together they do the same."""
    x = np.logspace(-2 * (steps - 3) / 3, 0, 200)
    ours, theirs = x, x
    for a, b, c in quintics(steps):
        ours = a * ours + b * ours**3 + c * ours**5
    for a, b, c in np.load(METHODS)[f"polar_express/composition_{steps}"]:
        theirs = a * theirs + b * theirs**3 + c * theirs**5
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
    assert np.abs(ours - 1).max() < 1e-6


@pytest.mark.parametrize(("key", "function"), [("root", matrix_sqrt), ("inverse", matrix_inverse_sqrt)])
def test_power_iteration_with_deflation(key, function):
    theirs = VALUES["power_iteration"]
    P = tensor(theirs["matrix"]).requires_grad_()
    root = function(P, "power_iteration")
    (root * tensor(theirs["weights"])).sum().backward()
    assert relative(root, theirs[key]["value"]) < 1e-13
    assert relative(P.grad, theirs[key]["gradient"]) < 1e-12


@pytest.mark.parametrize(("key", "running"), [("dbn", "matrix"), ("dbn_running_covariance", "covariance")])
def test_decorrelated_batch_normalisation(key, running):
    """The training step and its gradient; in evaluation theirs averages biased covariances, ours unbiased ones."""
    theirs = VALUES["whitening"]
    layer = DecorrelatedBatchNorm2d(6, eps=1e-3, affine=False, dtype=torch.float64, running=running)
    x = tensor(theirs["features"]).requires_grad_()
    y = layer(x)
    (y * tensor(theirs["weights"])).sum().backward()
    assert relative(y, theirs[key]["value"]) < 1e-12
    assert relative(x.grad, theirs[key]["gradient"]) < 1e-12
    if running == "matrix":
        assert relative(layer.eval()(x), theirs[key]["evaluation"]) < 1e-12


@pytest.mark.parametrize("steps", [3, 5])
def test_iterative_normalisation(steps):
    theirs = VALUES["whitening"]
    layer = DecorrelatedBatchNorm2d(
        6, eps=1e-3, affine=False, dtype=torch.float64, groups=2, method="isqrt_cov", steps=steps, running="matrix"
    )
    y = layer(tensor(theirs["features"]))
    assert relative(y, theirs[f"iternorm_{steps}"]["value"]) < 1e-13
    assert relative(layer.running_matrix, theirs[f"iternorm_{steps}"]["running_matrix"]) < 1e-13
    assert relative(layer.running_mean.reshape(2, 3, 1), theirs[f"iternorm_{steps}"]["running_mean"]) < 1e-13


@pytest.mark.parametrize("layer", [DecorrelatedBatchNorm2d, CovariancePool2d])
def test_steps_that_do_not_fit_are_refused_at_once(layer):
    other = {"whitening": "pca"} if layer is DecorrelatedBatchNorm2d else {"power": 0.3}
    for options in ({"steps": 5}, {"method": "isqrt_cov", "steps": 0}, {"steps": 5, **other}):
        with pytest.raises(InputError, match="steps is"):
            layer(4, **options)
