"""Networks with these layers through exporters and compilers: no break, no guard on values, eager mode's values."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from disentangle.linalg import polar
from disentangle.models import build_model
from disentangle.nn import (
    CovariancePool2d,
    DecorrelatedBatchNorm2d,
    HouseholderProjection,
    SkewConv2d,
    orthogonal_weight,
    project,
    replace_norm,
    replace_pool,
)

METHODS = ["polar", "cayley", "matrix_exp", "householder"]
STYLE = {"resolution": 16, "z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channels": (7, 6, 4)}
GENERATORS = {
    "eigengan": {"kind": "eigengan", "resolution": 16, "channels": (8, 6, 4), "basis": 3, "noise_dim": 5},
    "gan": {"kind": "gan", "resolution": 16, "channels": (8, 6, 4), "latent_dim": 5},
    "stylegan2": {"kind": "stylegan2", **STYLE},
}
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "householder projection": (lambda: HouseholderProjection(9, 7, rank=4), (5, 9)),
    "whitening": (lambda: DecorrelatedBatchNorm2d(6, groups=2), (5, 6, 4, 4)),
    "whitening by PCA": (lambda: DecorrelatedBatchNorm2d(6, whitening="pca"), (5, 6, 4, 4)),
    "whitening, averaged matrices": (lambda: DecorrelatedBatchNorm2d(6, running="matrix"), (5, 6, 4, 4)),
    "pooling": (lambda: CovariancePool2d(6, reduction=4), (5, 6, 4, 4)),
    "pooling, logarithm": (lambda: CovariancePool2d(6, power="log"), (5, 6, 4, 4)),
    "skew convolution": (lambda: SkewConv2d(4, 8, 3, stride=2), (5, 4, 6, 6)),
    **{method: (lambda m=method: orthogonal_weight(nn.Linear(30, 7), method=m), (5, 30)) for method in METHODS},
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    return build(), normal(*shape)


def some(*names: str) -> list[object]:
    """All layers, of which these are in the fast suite."""
    return [*names, *(pytest.param(name, marks=pytest.mark.slow) for name in LAYERS if name not in names)]


def exported(module: nn.Module, x: Tensor, **options: object) -> nn.Module:
    return torch.export.export(copy.deepcopy(module), (x,), **options).module()  # type: ignore[arg-type]


def close(ours: Tensor, expected: Tensor) -> None:
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(ours, expected, rtol=0, atol=30 * torch.finfo(expected.dtype).eps * scale)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# ----------------------------------------------------------------------------------------------------- the polar factor

INPUTS = {
    "random": normal(3, 20, 40),
    "tall": normal(40, 20),
    "orthonormal": torch.linalg.qr(normal(40, 20)).Q.mT,
    "rank 3": normal(20, 3) @ normal(3, 40),
    "zero": torch.zeros(20, 40),
    "not finite": torch.cat([normal(1, 20, 40), torch.full((1, 20, 40), float("nan")), normal(1, 20, 40, seed=1)]),
    "large and small": torch.stack([1e30 * normal(20, 40), 1e-30 * normal(20, 40)]),
    "ill-conditioned": torch.linalg.qr(normal(40, 20)).Q.mT * torch.logspace(0, -8, 20)[:, None],
}


@pytest.mark.parametrize("rank_deficient", ["partial", "complete"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_one_traced_polar_factor_is_right_for_every_input(dtype, rank_deficient):
    """Traced once with a matrix of one kind, run with those of all the others."""

    def function(G: Tensor) -> Tensor:
        return polar(G, rank_deficient=rank_deficient)

    traced: dict[torch.Size, nn.Module] = {}
    for given in INPUTS.values():
        G = given.to(dtype)
        if G.shape not in traced:
            traced[G.shape] = exported(Function(function), torch.ones_like(G))
        ours, expected = traced[G.shape](G), function(G)
        # what completes a null space is free, what it completes to is not
        if rank_deficient == "complete" and not G.isnan().any():
            kept = polar(G)
            ours, expected = ours @ kept.mT @ kept, expected @ kept.mT @ kept
        torch.testing.assert_close(ours, expected, rtol=0, atol=40 * torch.finfo(dtype).eps, equal_nan=True)


def test_tracing_a_graph_of_the_polar_factor_keeps_no_branch():
    graph = torch.export.export(Function(polar), (INPUTS["random"],)).graph
    called = {str(node.target) for node in graph.nodes}
    assert "aten._linalg_eigh.default" in called or "aten.linalg_eigh.default" in called
    assert not any("aten.item" in name or "scalar" in name for name in called)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"rank_deficient": "complete"}, {"method": "svd"}, {"method": "newton_schulz"}]
)
def test_polar_compiles_without_a_break(options, dtype):
    torch._dynamo.reset()
    compiled = torch.compile(lambda G: polar(G, **options), fullgraph=True, backend="aot_eager")
    for name in ("random", "orthonormal"):
        results = []
        for function in (compiled, lambda G: polar(G, **options)):
            G = INPUTS[name].to(dtype, copy=True).requires_grad_()
            Q = function(G)
            Q.sin().sum().backward()
            results.append((Q.detach(), G.grad))
        close(results[0][0], results[1][0])
        close(results[0][1], results[1][1])


# -------------------------------------------------------------------------------------------------------- single layers


@pytest.mark.parametrize("name", some("polar", "householder projection", "whitening", "pooling"))
def test_layers_are_exported_for_any_batch(name):
    module, x = made(name)
    if hasattr(module, "running_mean"):
        module(x)
    module.eval()
    batch = torch.export.Dim("batch", min=2, max=99)
    program = exported(module, x, dynamic_shapes=({0: batch},))
    larger = torch.cat([x, 2 * x, 1 - x])
    close(program(larger), module(larger))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["polar", "cayley", "householder projection", "whitening", "pooling"])
def test_layers_of_other_precisions_are_exported(name, dtype):
    module, x = made(name)
    module, x = module.eval().to(dtype), x.to(dtype)
    close(exported(module, x)(x), module(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_training_step_of_each_layer_compiles(name):
    module, x = made(name)
    other = copy.deepcopy(module)
    torch._dynamo.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for step in range(3):
        inputs = [(x + step).requires_grad_() for _ in range(2)]
        for each, given in zip((module, compiled), inputs, strict=True):
            each.zero_grad()
            y = each(given)
            (y * normal(*y.shape, seed=1)).sum().backward()
        close(inputs[1].grad, inputs[0].grad)
        for ours, expected in zip(other.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-4, atol=1e-5)
    assert all(key.startswith("_orig_mod.") for key in compiled.state_dict())
    module.load_state_dict({key.removeprefix("_orig_mod."): value for key, value in compiled.state_dict().items()})


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_layers_are_traced_by_the_older_tracer(name):
    module, x = made(name)
    module.eval().requires_grad_(False)
    traced = torch.jit.trace(module, (x,))
    close(traced(1 - x), module(1 - x))


def test_ended_and_baked_layers_are_plain():
    """What an exporter without decompositions of matrices (ONNX has none) is given."""
    for method in METHODS:
        layer = orthogonal_weight(nn.Linear(8, 5), method=method)
        x = normal(3, 8)
        expected = layer(x)
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
        names = {
            str(node.target) for node in torch.export.export(layer, (x,)).graph.nodes if node.op == "call_function"
        }
        assert names == {"aten.linear.default"}
        torch.testing.assert_close(layer(x), expected)
    whitening = DecorrelatedBatchNorm2d(6)
    x = normal(4, 6, 5, 5)
    whitening(x)
    whitening.eval()
    torch.testing.assert_close(whitening.bake()(x), whitening(x), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- whole networks


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("gan", "householder"),
        *(pytest.param(family, kind, marks=pytest.mark.slow) for family in GENERATORS for kind in METHODS),
    ],
)
def test_projected_generators_are_exported(family, kind, trains):
    model = project(build_model(GENERATORS[family], seed=2), kind=kind).eval().requires_grad_(trains)
    z = model.sample_latents(3, generator=torch.Generator().manual_seed(0))
    close(exported(model, z)(z), model(z))


@pytest.mark.slow
@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("family", GENERATORS)
@pytest.mark.parametrize("kind", METHODS)
def test_projected_generators_compile_without_a_break(family, kind, trains):
    model = project(build_model(GENERATORS[family], seed=2), kind=kind).eval().requires_grad_(trains)
    other = copy.deepcopy(model)
    z = model.sample_latents(3, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    close(compiled(z), model(z))
    if trains:
        for each in (compiled, model):
            each(z).square().sum().backward()
        for ours, expected in zip(other.parameters(), model.parameters(), strict=True):
            if expected.grad is not None:
                torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-3, atol=1e-4)


def surgery() -> tuple[nn.Module, Tensor]:
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5)
    replace_norm(network, "bn1")
    replace_pool(network, reduction=16)
    return network, normal(2, 3, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_a_residual_network_with_whitening_and_pooling(training):
    network, x = surgery()
    network.train(training)
    expected = copy.deepcopy(network)(x).detach()
    tolerance = {"rtol": 0, "atol": 1e-4 * float(expected.abs().max())}
    torch.testing.assert_close(exported(network, x)(x), expected, **tolerance)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), expected, **tolerance)
