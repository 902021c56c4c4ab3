"""What DecorrelatedBatchNorm2d computes: reference values, derivatives, identities, degenerate batches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.nn.batch_moments import moments, shifted_product
from disentangle.nn.whitening import DecorrelatedBatchNorm2d

CASES = ("zca_g1", "zca_g2", "zca_fewer_samples")
WHITENINGS = ("zca", "pca", "cholesky")
EPSILONS = (1e-2, 1e-5, 1e-10)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def correlated(n: int, channels: int, *rest: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """(n, channels, *rest) with a mean and correlated channels of different size."""
    mixing = normal(channels, channels, seed=seed + 1) + 0.5 * torch.eye(channels, dtype=torch.float64)
    x = torch.einsum("dc,nc...->nd...", mixing, normal(n, channels, *rest, seed=seed + 2))
    return (x + normal(channels, *[1] * len(rest), seed=seed + 3)).to(dtype)


def rows(x: Tensor, groups: int = 1) -> Tensor:
    """(N, C, *) as (groups, c, samples)."""
    return x.detach().double().transpose(0, 1).reshape(groups, x.shape[1] // groups, -1)


def covariance_of(x: Tensor, groups: int = 1) -> Tensor:
    """Biased, (groups, c, c) float64."""
    return torch.stack([torch.cov(group, correction=0).view(len(group), -1) for group in rows(x, groups)])


def inverse_root(P: Tensor) -> Tensor:
    """By the singular value decomposition, which the layer does not use."""
    U, s, _ = torch.linalg.svd(P)
    return (U * s.rsqrt().unsqueeze(-2)) @ U.mT


def relative(a: Tensor, b: Tensor) -> float:
    return float(((a.double() - b.double()).norm() / b.double().norm()).detach())


def gradient(layer: nn.Module, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Output and the gradient of ``(layer(x) * g).sum()``."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (grad,) = torch.autograd.grad((y * g).sum(), x)
    return y.detach(), grad


# ---------------------------------------------------------------------------------------------- reference values


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradient_equal_reference(spectral, case, dtype):
    x, g, y, expected = (torch.from_numpy(spectral[f"{case}/{key}"]) for key in ("x", "g", "y", "x_grad"))
    eps, groups = spectral[f"{case}/eps_groups"]
    layer = DecorrelatedBatchNorm2d(x.shape[1], eps=float(eps), groups=int(groups), dtype=dtype)
    ours, grad = gradient(layer, x.to(dtype), g.to(dtype))
    # The case of 4 samples in 8 channels has null directions of variance eps, which magnify rounding.
    assert relative(ours, y) <= (1e-12 if dtype == torch.float64 else 2e-5)
    assert relative(grad, expected) <= (1e-12 if dtype == torch.float64 else 2e-4)


@pytest.mark.parametrize("case", CASES)
def test_running_statistics_equal_reference(spectral, case):
    x, mean, second, W = (torch.from_numpy(spectral[f"{case}/{key}"]) for key in ("x", "mean", "cov", "W"))
    eps, groups = float(spectral[f"{case}/eps_groups"][0]), int(spectral[f"{case}/eps_groups"][1])
    size, samples = W.shape[-1], x.numel() // x.shape[1]
    identity = torch.eye(size, dtype=torch.float64).expand(groups, -1, -1)
    for running in ("covariance", "matrix"):
        layer = DecorrelatedBatchNorm2d(
            x.shape[1], eps=eps, groups=groups, momentum=0.3, running=running, dtype=torch.float64
        )
        layer(x)
        assert torch.allclose(layer.covariance, second - eps * identity, atol=1e-14)
        assert torch.allclose(layer.running_mean, 0.3 * mean.flatten(), atol=1e-14)
        unbiased = (second - eps * identity) * samples / (samples - 1)
        new = unbiased if running == "covariance" else W
        old = getattr(layer, f"running_{running}")
        assert torch.allclose(old, 0.7 * identity + 0.3 * new, atol=1e-10)


# --------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_derivatives_of_the_batch_operations(check):
    X, M, s = (normal(*shape).requires_grad_() for shape in ((2, 3, 7), (2, 3, 3), (2, 3)))
    forward = {"check_forward_ad": True, "check_batched_grad": True} if check is torch.autograd.gradcheck else {}
    assert check(moments, (X,), **forward)
    assert check(shifted_product, (M, X, s), **forward)


@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("training", [True, False])
def test_derivatives_of_the_layer(whitening, training):
    layer = DecorrelatedBatchNorm2d(6, groups=2, whitening=whitening, dtype=torch.float64)
    x = correlated(5, 6, 2)
    layer(x)
    layer.train(training)
    weight, bias = normal(6, seed=8), normal(6, seed=9)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = tuple(value.requires_grad_() for value in (x, weight, bias))
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, inputs)


def equal_spectrum(values: list[float]) -> Tensor:
    """(2 C, C) with zero mean and diagonal covariance of exactly these eigenvalues."""
    half = torch.diag(torch.tensor(values, dtype=torch.float64).sqrt() * len(values) ** 0.5)
    return torch.cat([half, -half])


@pytest.mark.parametrize("values", [[1.0] * 4, [4.0, 4.0, 1.0, 1.0], [1.0, 1 + 1e-9, 1 + 2e-9, 1.0]])
@pytest.mark.parametrize("whitening", ["zca", "cholesky"])
def test_gradcheck_where_eigenvalues_are_equal(values, whitening):
    layer = DecorrelatedBatchNorm2d(4, whitening=whitening, affine=False, dtype=torch.float64)
    x = equal_spectrum(values).requires_grad_()
    assert torch.allclose(covariance_of(x)[0], torch.diag(torch.tensor(values, dtype=torch.float64)), atol=1e-12)
    assert torch.autograd.gradcheck(layer, (x,))


def test_pca_of_equal_eigenvalues_has_a_finite_gradient():
    layer = DecorrelatedBatchNorm2d(4, whitening="pca", dtype=torch.float64)
    _, grad = gradient(layer, equal_spectrum([4.0, 4.0, 1.0, 1.0]), normal(8, 4))
    assert grad.isfinite().all()
    assert grad.abs().max() < 10


# ---------------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("options", [{}, {"groups": 3}, {"channels_per_group": 2}, {"groups": 6}])
def test_output_is_white(whitening, options):
    x = correlated(16, 6, 3, 3)
    layer = DecorrelatedBatchNorm2d(6, eps=0.0, whitening=whitening, dtype=torch.float64, **options)
    groups = options.get("groups", 6 // options.get("channels_per_group", 6))
    assert layer.groups == groups
    y = layer(x)
    identity = torch.eye(6 // groups, dtype=torch.float64).expand(groups, -1, -1)
    assert torch.allclose(covariance_of(y, groups), identity, atol=1e-11)
    assert y.mean((0, 2, 3)).abs().max() < 1e-13


@pytest.mark.parametrize("whitening", ["zca", "pca"])
def test_a_rank_deficient_batch_is_white_where_it_has_variance(whitening):
    basis = torch.linalg.qr(normal(8, 5)).Q
    x = torch.einsum("cr,nrhw->nchw", basis, correlated(16, 5, 3, 3))
    eps = 1e-9
    y = DecorrelatedBatchNorm2d(8, eps=eps, whitening=whitening, dtype=torch.float64)(x)
    second = covariance_of(y)[0]
    variances = torch.linalg.eigvalsh(covariance_of(x)[0])[-5:]
    shrunk = (variances / (variances + eps)).sort().values
    assert torch.allclose(
        torch.linalg.eigvalsh(second), torch.cat([torch.zeros(3, dtype=torch.float64), shrunk]), atol=1e-6
    )
    if whitening == "zca":
        assert torch.allclose(second, basis @ basis.T, atol=1e-6)


def test_each_whitening_is_what_it_is_called():
    x = correlated(16, 5, 2, 2)
    centred = rows(x)[0] - rows(x)[0].mean(1, keepdim=True)
    second = covariance_of(x)[0] + 1e-3 * torch.eye(5, dtype=torch.float64)
    matrix = {}
    for whitening in WHITENINGS:
        y = rows(DecorrelatedBatchNorm2d(5, eps=1e-3, whitening=whitening, dtype=torch.float64)(x))[0]
        matrix[whitening] = torch.linalg.lstsq(centred.T, y.T).solution.T
        assert torch.allclose(matrix[whitening] @ second @ matrix[whitening].T, torch.eye(5).double(), atol=1e-10)
    assert torch.allclose(matrix["zca"], matrix["zca"].T, atol=1e-10)
    assert (torch.linalg.eigvalsh(matrix["zca"]) > 0).all()
    assert torch.allclose(matrix["cholesky"].triu(1), torch.zeros(5, 5).double(), atol=1e-10)
    assert (matrix["cholesky"].diagonal() > 0).all()
    lengths = matrix["pca"].norm(dim=1)
    assert torch.allclose(matrix["pca"] @ matrix["pca"].T, torch.diag(lengths**2), atol=1e-9)
    assert (lengths.diff() > 0).all(), "largest variance first"
    largest = matrix["pca"].gather(1, matrix["pca"].abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_one_channel_a_group_is_batch_norm(training):
    x, g = correlated(8, 4, 3, 3), normal(8, 4, 3, 3, seed=7)
    ours = DecorrelatedBatchNorm2d(4, groups=4, dtype=torch.float64)
    theirs = nn.BatchNorm2d(4, dtype=torch.float64)
    for _ in range(3):
        ours(x), theirs(x)
    ours.train(training), theirs.train(training)
    for a, b in zip(gradient(ours, x, g), gradient(theirs, x, g), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert torch.allclose(ours.running_covariance.flatten(), theirs.running_var, atol=1e-12)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_the_input_does_not_matter(scale):
    x, g = correlated(16, 5, 2, 2), normal(16, 5, 2, 2, seed=7)
    layer = DecorrelatedBatchNorm2d(5, eps=0.0, dtype=torch.float64)
    y, grad = gradient(layer, x, g)
    scaled, scaled_grad = gradient(layer, scale * x + 5.0, g)
    assert torch.allclose(scaled, y, atol=1e-9)
    assert torch.allclose(scaled_grad * scale, grad, atol=1e-8)
    assert abs(float((grad * x).sum())) < 1e-9, "the gradient is orthogonal to what it is scale-free in"


def test_affine_is_applied_after_whitening():
    x = correlated(16, 4, 2, 2)
    plain = DecorrelatedBatchNorm2d(4, affine=False, dtype=torch.float64)
    layer = DecorrelatedBatchNorm2d(4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(normal(4, seed=5))
        layer.bias.copy_(normal(4, seed=6))
    expected = plain(x) * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)
    assert torch.allclose(layer(x), expected, atol=1e-12)
    assert torch.allclose(
        layer.eval()(x), plain.eval()(x) * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)
    )


# ------------------------------------------------------------------------------------------------ degenerate batches


@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("eps", [*EPSILONS, 0.0])
@pytest.mark.parametrize("kind", ["constant channel", "all zero", "constant", "repeated channel", "two samples"])
def test_degenerate_batches_stay_finite(kind, eps, whitening):
    x = correlated(8, 6, 2, 2, dtype=torch.float32)
    if kind == "constant channel":
        x[:, 2] = 7.0
    elif kind == "all zero":
        x.zero_()
    elif kind == "constant":
        x[:] = 3.0
    elif kind == "repeated channel":
        x[:, 3] = x[:, 0]
    else:
        x = x[:2, :, 0, 0]
    layer = DecorrelatedBatchNorm2d(6, eps=eps, whitening=whitening)
    y, grad = gradient(layer, x, normal(*x.shape, seed=7, dtype=torch.float32))
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert y.abs().max() <= x[:, 0].numel() ** 0.5 * (1 if eps else 10), "no value is further off than its own variance"
    if kind in ("all zero", "constant"):
        assert not y.any()
    assert layer.eval()(x).isfinite().all()


def stem(eps: float, dtype: torch.dtype, x: Tensor) -> tuple[Tensor, Tensor, DecorrelatedBatchNorm2d]:
    """Output and weight gradient of a 64x3x3x3 convolution in front of the layer: rank 27 of 64 channels."""
    weight = (normal(64, 3, 3, 3) / 27**0.5).to(dtype).requires_grad_()
    layer = DecorrelatedBatchNorm2d(64, eps=eps, dtype=dtype)
    y = layer(nn.functional.conv2d(x.to(dtype), weight, padding=1))
    (y * normal(*y.shape, seed=7).to(dtype)).sum().backward()
    return y.detach(), weight.grad, layer


# Rounding of the convolution's own float32 output is what is left; it grows as the ridge shrinks.
@pytest.mark.parametrize(("eps", "tolerance"), [(1e-2, 1e-4), (1e-5, 3e-3), (1e-10, None)])
def test_the_rank_deficient_stem(eps, tolerance):
    x = nn.functional.avg_pool2d(normal(16, 3, 18, 18), 3, stride=1)  # neighbouring positions are correlated
    y, grad, layer = stem(eps, torch.float32, x)
    exact, exact_grad, _ = stem(eps, torch.float64, x)
    spectrum = torch.linalg.eigvalsh(layer.covariance[0])
    assert int((spectrum > 1e-6 * spectrum[-1]).sum()) == 27
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert grad.any()
    if tolerance is not None:
        assert relative(y, exact) <= tolerance
        assert relative(grad, exact_grad) <= tolerance


@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("running", ["covariance", "matrix"])
def test_a_bad_batch_is_visible_and_leaves_the_statistics(bad, running, whitening):
    layer = DecorrelatedBatchNorm2d(4, groups=2, running=running, whitening=whitening)
    x = correlated(8, 4, 2, 2, dtype=torch.float32)
    layer(x)
    before = copy.deepcopy(layer.state_dict())
    broken = x.clone()
    broken[3, 0, 1, 1] = bad
    y = layer(broken)
    assert y[:, :2].isnan().all()
    assert y[:, 2:].isfinite().all()
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    layer(x)
    assert int(layer.num_batches_tracked) == 2
    assert layer.eval()(x).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1)])
def test_one_value_a_channel_is_refused(shape):
    layer = DecorrelatedBatchNorm2d(4)
    with pytest.raises(InputError, match="1 value a channel.*use a larger batch or eval mode"):
        layer(torch.zeros(shape))
    with pytest.raises(InputError, match="0 value"):
        layer(torch.zeros(0, *shape[1:]))
    assert layer.eval()(torch.zeros(shape)).shape == shape
