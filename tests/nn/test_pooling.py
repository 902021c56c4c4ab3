"""Global covariance pooling against reference values, by hand, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.nn import CovariancePool2d


def features(n: int, channels: int, side: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_value_and_gradient_equal_reference(spectral):
    x = torch.from_numpy(spectral["gcp/x"])[..., None].requires_grad_()  # (3, 6, 20, 1)
    G = torch.from_numpy(spectral["gcp/G"])
    pool = CovariancePool2d(6, eps=0.0, upper_triangle=False)
    y = pool(x).reshape(3, 6, 6)
    (y * G).sum().backward()
    np.testing.assert_allclose(y.detach(), spectral["gcp/y"], rtol=0, atol=1e-13)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad[..., 0], spectral["gcp/x_grad"], rtol=0, atol=1e-12)
    assert pool.covariance is not None
    np.testing.assert_allclose(pool.covariance, spectral["gcp/cov"], rtol=0, atol=1e-14)


def test_upper_triangle_is_the_matrix_row_by_row():
    x = features(2, 4, 5)
    whole = CovariancePool2d(4, upper_triangle=False)(x).reshape(2, 4, 4)
    rows, columns = torch.triu_indices(4, 4)
    assert torch.equal(CovariancePool2d(4)(x), whole[:, rows, columns])


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, "log"])
def test_powers_by_eigenvalues(power):
    x = features(2, 3, 4)
    pool = CovariancePool2d(3, power=power, upper_triangle=False, eps=0.1)
    flat = x.flatten(2) - x.flatten(2).mean(-1, keepdim=True)
    l, V = torch.linalg.eigh(flat @ flat.mT / 16 + 0.1 * torch.eye(3, dtype=torch.float64))
    f = l.log() if power == "log" else l**power
    torch.testing.assert_close(pool(x).reshape(2, 3, 3), (V * f.unsqueeze(-2)) @ V.mT, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("power", [0.5, 0.3, "log"])
def test_gradcheck(power):
    pool = CovariancePool2d(3, power=power, eps=0.1)
    assert torch.autograd.gradcheck(pool, (features(2, 3, 3).requires_grad_(),))


@pytest.mark.parametrize(("reduction", "triangle", "width"), [(None, True, 36), (None, False, 64), (3, True, 6)])
def test_width_is_known_before_the_first_batch(reduction, triangle, width):
    pool = CovariancePool2d(8, reduction=reduction, upper_triangle=triangle)
    assert pool.out_features == width
    for side in (1, 2, 7):
        assert pool(features(2, 8, side, torch.float32)).shape == (2, width)


def test_reduction_norm_and_relu_stand_in_front():
    x = features(4, 6, 5, torch.float32)
    for after, kinds in (("bn_relu", [nn.BatchNorm2d, nn.ReLU]), ("bn", [nn.BatchNorm2d])):
        pool = CovariancePool2d(6, reduction=4, norm_after=after)
        assert pool.reduction is not None
        assert pool.reduction.bias is None
        assert [type(module) for module in pool.norm] == kinds  # type: ignore[union-attr]
        plain = CovariancePool2d(4)
        torch.testing.assert_close(pool(x), plain(pool.norm(pool.reduction(x))))
    assert isinstance(CovariancePool2d(6, reduction=4, norm_after="none").norm, nn.Identity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fewer_positions_than_channels_and_constant_features_are_finite(dtype):
    pool = CovariancePool2d(16, eps=1e-5)
    x = features(3, 16, 2, dtype)
    x[1] = 0
    x[2] = 1
    x.requires_grad_()
    y = pool(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_each_picture_is_pooled_by_itself():
    x = features(3, 4, 4)
    pool = CovariancePool2d(4)
    together = pool(x)
    torch.testing.assert_close(together[1:2], pool(x[1:2]), rtol=1e-12, atol=1e-13)
    x[0, 0, 0, 0] = float("nan")
    y = pool(x)
    assert torch.isnan(y[0]).all()
    torch.testing.assert_close(y[1:], together[1:], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = features(2, 5, 6, torch.float32).to(dtype)
    pool = CovariancePool2d(5)
    y = pool(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), pool(x.double()), rtol=8e-3, atol=1e-3)


def test_autocast_changes_nothing_after_the_features():
    x = features(2, 5, 6, torch.float32)
    pool = CovariancePool2d(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pool(x), pool(x.clone()))
        inside = pool(x)
    assert torch.equal(inside, pool(x))


@pytest.mark.parametrize("options", [{}, {"reduction": 2}, {"power": "log"}, {"method": "pade"}])
def test_no_pictures_give_no_rows(options):
    pool = CovariancePool2d(4, **options)
    x = torch.zeros(0, 4, 3, 3, requires_grad=True)
    y = pool(x)
    assert y.shape == (0, pool.out_features)
    y.sum().backward()
    assert x.grad is not None
    assert pool.eval()(x).shape == (0, pool.out_features)


def test_not_flattened_it_has_the_shape_of_average_pooling():
    x = features(2, 4, 5)
    pool = CovariancePool2d(4, flatten=False)
    assert torch.equal(pool(x), CovariancePool2d(4)(x)[:, :, None, None])
    assert "flatten=False" in repr(pool)


def test_the_meta_device_gives_shapes():
    with torch.device("meta"):
        pool = CovariancePool2d(4, reduction=3, power="log")
    y = pool(torch.empty(2, 4, 5, 5, device="meta"))
    assert (y.device.type, y.shape) == ("meta", (2, 6))


def test_covariance_is_kept_in_training_only_and_not_saved():
    pool = CovariancePool2d(4)
    assert pool.covariance is None
    pool(features(2, 4, 3))
    assert pool.covariance is not None
    kept = pool.covariance.clone()
    pool.eval()(features(2, 4, 3, seed=1))
    assert torch.equal(pool.covariance, kept)
    assert not pool.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels is 0"),
        ({"in_channels": 4, "reduction": 0}, "reduction is 0"),
        ({"in_channels": 4, "power": 0.0}, "power is 0.0"),
        ({"in_channels": 4, "power": 1.5}, "power is 1.5"),
        ({"in_channels": 4, "power": "lg"}, "did you mean 'log'"),
        ({"in_channels": 4, "eps": -1.0}, "eps is -1.0"),
        ({"in_channels": 4, "norm_after": "relu"}, "norm_after"),
        ({"in_channels": 4, "method": "svd"}, "svd"),
        ({"in_channels": 4, "method": "pade", "power": 0.3}, "takes no method"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(InputError, match=message):
        CovariancePool2d(**arguments)


@pytest.mark.parametrize(
    "x",
    [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4), torch.zeros(2, 4, 3, 3, dtype=torch.int64), torch.zeros(2, 4, 0, 3),
     torch.zeros(0, 4, 0, 0)],
)  # fmt: skip
def test_bad_input(x):
    with pytest.raises(InputError, match=r"CovariancePool2d\(4\) got an input of shape"):
        CovariancePool2d(4)(x)
