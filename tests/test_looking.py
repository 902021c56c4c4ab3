"""Looking at a model never changes it: every function that draws, measures or encodes, on an awkward module."""

# ruff: noqa: NPY002  (the global random state is what is tested)

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import disentangle
from disentangle import latents as found
from disentangle.errors import InputError
from disentangle.evaluations import classify_dataset, encode_dataset
from disentangle.evaluations import generation as scores
from disentangle.evaluations.disentanglement import evaluate_encoder
from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.features import PROTOCOLS, extract_features, generated_images, load_extractor
from disentangle.evaluations.features.perceptual import StageDistance
from disentangle.evaluations.generation.factor_predictor import FactorPredictor
from disentangle.io.foreign.trial import check_picture
from disentangle.looking import looking_at, modules_of, own_randomness
from disentangle.models import build_model
from disentangle.models.base import LatentSpace
from disentangle.models.wrapped import WrappedGenerator

SIDE = 8


class Awkward(nn.Module):
    """Whatever a network may do to itself in a forward pass, with parts of it frozen and gradients held."""

    calls: Tensor
    last: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 6)
        self.normed = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.batch, self.frozen, self.drop = nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.table = nn.Embedding(3, 6, max_norm=0.1)  # renormalises its weight in every mode
        self.head = nn.Linear(6, outputs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(6))
        self.train()
        self.frozen.eval()
        self.head.bias.requires_grad_(False)
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1  # in place
        x = self.first(x)
        self.last = x.detach().mean(0)  # by another tensor
        x = self.drop(self.frozen(self.batch(self.normed(x)))) + self.table(torch.zeros(1, dtype=torch.int64))
        return self.head(x + 0.1 * torch.randn(6) + 0.1 * float(np.random.rand()) + 0.1 * random.random())


class AwkwardGenerator(Awkward):
    """As a generator of the protocol; ``encode`` is its encoder."""

    def __init__(self) -> None:
        super().__init__(4, 3 * SIDE * SIDE)
        self.spaces = {"z": LatentSpace("z", (4,))}

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None
    ) -> Tensor:
        return truncation * torch.randn(n, 4, generator=generator)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        return torch.tanh(super().forward(latents)).reshape(-1, 3, SIDE, SIDE)

    def projections(self) -> dict[str, Any]:
        return dict(WrappedGenerator(self, 4, (4,), (-1, 1), "normal", self.first).projections())


class AwkwardEncoder(Awkward):
    def __init__(self) -> None:
        super().__init__(3 * SIDE * SIDE, 3)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))

    def stages(self, images: Tensor) -> list[Tensor]:
        return [self(images)[:, :, None, None]]

    name, size, centre, spread = "awkward", SIDE, 127.5, 127.5


class Grid:
    """Two factors of three values."""

    factor_sizes, factor_names, image_shape = (3, 3), ("a", "b"), (3, SIDE, SIDE)
    labels = torch.arange(9) % 3

    def sample(self, n: int, generator: Any = None) -> Tensor:
        return torch.randint(3, (n, 2), generator=generator)

    def render(self, factors: Tensor) -> Tensor:
        return (factors.float() / 2).repeat(1, 96).reshape(-1, 3, SIDE, SIDE)

    def __len__(self) -> int:
        return 9

    def images(self, indices: Tensor) -> Tensor:
        return self.render(torch.stack([indices // 3, indices % 3], dim=1))


def state(module: nn.Module) -> dict[str, Any]:
    """Everything that must stay, as plain values."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {
        "modes": {name: part.training for name, part in module.named_modules()},
        "values": {name: tensor.detach().clone().numpy().tobytes() for name, tensor in tensors},
        "identities": {name: id(tensor) for name, tensor in tensors},
        "flags": {name: tensor.requires_grad for name, tensor in tensors},
        "gradients": {name: None if p.grad is None else p.grad.numpy().tobytes() for name, p in tensors if p.is_leaf},
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes() + str(np.random.get_state()[2:]).encode(),
        "python": random.getstate(),
    }


def squared(one: Tensor, two: Tensor) -> Tensor:
    return (one - two).square().flatten(1).sum(1)


def pictures() -> Tensor:
    return torch.linspace(-1, 1, 2 * 3 * SIDE * SIDE).reshape(2, 3, SIDE, SIDE)


AXES = torch.eye(4)[:2]
GENERATOR_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "traverse": lambda g: disentangle.traverse(g, seeds=[0, 1], steps=3),
    "activity": lambda g: found.activity(g, samples=2),
    "most_active": lambda g: found.most_active(g, top=1, samples=2).vectors,
    "basis": lambda g: found.basis(g).vectors,
    "sefa": lambda g: found.sefa(g, top=2).vectors,
    "random_directions": lambda g: found.random_directions(g, top=2).vectors,
    "ganspace": lambda g: found.ganspace(g, samples=20, top=2).vectors,
    "ganspace of a layer": lambda g: found.ganspace(g, layer="normed", samples=20, top=2).vectors,
    "invert": lambda g: found.invert(g, pictures(), steps=3, candidates=4).images,
    "wrap": lambda g: disentangle.wrap(g, z_dim=4).sample_latents(1, generator=torch.Generator().manual_seed(0)),
    "check_picture": lambda g: check_picture("file", g),
    "generated_images": lambda g: torch.stack(generated_images(g, 5).read(1, 4)),
    "path_length": lambda g: scores.path_length(g, squared, n=4, batch=2, epsilon=1e-2, size=None).value,
    "perceptual_perturbation": lambda g: scores.perceptual_perturbation(g, squared, {"a": AXES}, n=4, size=None).value,
    "make_pairs": lambda g: scores.make_pairs(g, 6, batch=4)[0],
    "activeness": lambda g: scores.activeness(g, n=2).value,
    "jacobian_orthogonality": lambda g: scores.jacobian_orthogonality(g, n=2).value,
    "ima_contrast": lambda g: scores.ima_contrast(g, n=2).value,
    "factor_predictor_mig": lambda g: scores.factor_predictor_mig(g, Grid(), steps=2, n=40, baselines=False).value,
}
SMALL = {"beta-vae": {"train": 20, "evaluate": 10, "batch": 4}}
ENCODER_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "encode_dataset": lambda e: encode_dataset(e, Grid(), n=9, batch=4)[0],
    "classify_dataset": lambda e: classify_dataset(e, Grid(), batch=4)[0],
    "evaluate_encoder": lambda e: evaluate_encoder(e, Grid(), ["mig", "beta-vae"], n=60, options=SMALL)["mig"].value,
    "an encoder that draws": lambda e: evaluate_encoder(e, Grid(), ["mig"], n=60, deterministic=False)["mig"].value,
    "CodeTable": lambda e: CodeTable.of(e, Grid()).codes(np.array([[0, 1], [2, 2]])),
}
NETWORK_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "extract_features": lambda n: extract_features(
        generated_images(made(AwkwardGenerator), 3), load_extractor(n, size=SIDE), PROTOCOLS["clean"]
    )["features"],
    "a distance's network": lambda n: StageDistance(n)(pictures(), pictures().flip(0)).detach(),
    "path_length by a network": lambda n: (
        scores.path_length(made(AwkwardGenerator), lambda a, b: squared(n(a), n(b)), n=2, size=None, epsilon=1e-2).value
    ),
    "invert by a network": lambda n: (
        found.invert(
            made(AwkwardGenerator), pictures(), perceptual=lambda a, b: squared(n(a), n(b)), steps=2, candidates=2
        ).images
    ),
    "a factor predictor": lambda n: FactorPredictor(n, (2, 1), (3, SIDE, SIDE), np.ones(2), {}).name_factors(
        pictures()
    ),
}


def made(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind()


def unchanged_and_repeatable(function: Callable[[Any], Any], module: nn.Module, subject: Any) -> None:
    before = state(module)
    values = []
    for _ in range(2):
        values.append(function(subject))
        after = state(module)
        assert {key for key in before if before[key] != after[key]} == set()
        torch.rand(3), np.random.rand(3), random.random()  # what the user draws in between changes nothing
        before |= {key: state(module)[key] for key in ("torch", "numpy", "python")}
    np.testing.assert_array_equal(*(np.zeros(1) if value is None else np.asarray(value) for value in values))


@pytest.mark.parametrize("name", GENERATOR_FUNCTIONS)
def test_a_generator_is_left_as_it_was(name: str) -> None:
    module = made(AwkwardGenerator)
    unchanged_and_repeatable(GENERATOR_FUNCTIONS[name], module, module)


def global_encode(images: Tensor) -> Tensor:
    return GLOBAL(images)


GLOBAL = made(AwkwardEncoder)


class Holder:
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, images: Tensor) -> Tensor:
        return self.module(images)

    def encode(self, images: Tensor) -> Tensor:
        return self(images)


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "module": lambda m: m,
    "bound method": lambda m: m.forward,
    "lambda": lambda m: lambda images: m(images),
    "partial": lambda m: functools.partial(lambda net, images: net(images), m),
    "holder": Holder,
    "method of a holder": lambda m: Holder(m).encode,
    "holder of holders": lambda m: Holder(nn.Sequential(m)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", ENCODER_FUNCTIONS)
def test_an_encoder_is_left_as_it_was(name: str, wrapper: str) -> None:
    module = made(AwkwardEncoder)
    unchanged_and_repeatable(ENCODER_FUNCTIONS[name], module, WRAPPERS[wrapper](module))


def test_a_function_that_uses_a_network_of_its_file() -> None:
    unchanged_and_repeatable(ENCODER_FUNCTIONS["encode_dataset"], GLOBAL, global_encode)


@pytest.mark.parametrize("name", NETWORK_FUNCTIONS)
def test_a_network_that_measures_is_left_as_it_was(name: str) -> None:
    module = made(AwkwardEncoder)
    unchanged_and_repeatable(NETWORK_FUNCTIONS[name], module, module)


def test_style_channels_and_layers_in_training_mode() -> None:
    """Reading a spectrally normalised weight in training mode takes a step of its power iteration."""
    model: Any = build_model(
        {"kind": "stylegan2", "resolution": 8, "channels": (4, 4), "z_dim": 4, "w_dim": 4, "mapping_layers": 1}, seed=0
    ).train()
    for layer in model.style_layers():
        nn.utils.parametrizations.spectral_norm(layer.affine)
    for function in (
        lambda g: found.style_channels(g, top=2, layers=[0], seeds=[0], samples=10).vectors,
        lambda g: found.sefa(g, top=2).vectors,
        lambda g: found.ganspace(g, top=2, samples=10).vectors,
        lambda g: disentangle.traverse(g, found.random_directions(g, top=2), steps=2),
    ):
        unchanged_and_repeatable(function, model, model)


def test_pictures_are_those_of_evaluation_mode() -> None:
    """A DCGAN whose eval() was forgotten: a seed's pictures depend on nothing but the seed."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ConvTranspose2d(4, 6, 4), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Tanh()
    )
    for _ in range(5):
        network(torch.randn(16, 4, 1, 1))
    model = disentangle.wrap(network, z_dim=4, latent_shape=(4, 1, 1))
    alone, among = (disentangle.traverse(model, seeds=seeds, steps=3) for seeds in ([0], [0, 1]))
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    z[:, 2] = torch.tensor([-3.0, 0.0, 3.0])
    assert network.training
    torch.testing.assert_close(alone[0, 2], network.eval()(z[:, :, None, None]).detach())
    torch.testing.assert_close(alone[0], among[0])


def test_what_is_drawn_goes_on_from_batch_to_batch() -> None:
    """An encoder or a generator that draws does not draw the same for every batch."""

    def noisy(images: Tensor) -> Tensor:
        return torch.randn(len(images), 2)

    for codes in (
        encode_dataset(noisy, Grid(), n=8, batch=2)[0],
        CodeTable.of(noisy, Grid(), batch=2, cache=False).codes(np.zeros((8, 2), dtype=np.int64)),
        CodeTable.of(noisy, Grid(), batch=2).codes(Grid().sample(40).numpy()),
    ):
        assert len(np.unique(codes[:, 0])) == len(np.unique(codes, axis=0)) > 4
    model = made(AwkwardGenerator)
    one = generated_images(model, 4)
    model.spaces = {}
    model.sample_latents = lambda n, **options: torch.zeros(n, 4)  # type: ignore[assignment, method-assign]
    same = generated_images(model, 4)
    assert not torch.equal(torch.stack(same.read(0, 2)), torch.stack(same.read(2, 4)))
    assert torch.equal(torch.stack(one.read(0, 2)), torch.stack(one.read(0, 2)))


def test_everything_is_put_back_after_an_exception() -> None:
    module = made(AwkwardGenerator)
    before = state(module)

    def stop(done: int, total: int) -> None:
        assert not any(part.training for part in module.modules())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disentangle.traverse(module, steps=3, progress=stop)
    assert state(module) == before
    with pytest.raises(KeyboardInterrupt):
        found.invert(module, pictures(), steps=3, progress=stop)
    assert state(module) == before
    with pytest.raises(InputError):
        disentangle.wrap(module, z_dim=5)
    assert state(module) == before


def test_looks_inside_looks_and_networks_that_redefine_their_modes() -> None:
    class Own(nn.Linear):
        def train(self, mode: bool = True) -> Any:
            raise NotImplementedError

    module = Own(2, 2)
    with looking_at(module, seed=3):
        first = torch.rand(2)
        with looking_at([module, {"more": Holder(module)}], seed=3):
            assert not module.training
            assert torch.equal(torch.rand(2), first)
        assert not module.training
        module.weight.data = torch.zeros(3, 3)
        module.extra = nn.Parameter(torch.zeros(1))
        module.weight.requires_grad_(False)
    assert module.training
    assert module.weight.shape == (2, 2)
    assert module.weight.requires_grad
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]
    with looking_at(None, 3, "text", lambda x: x, squared):
        pass


def test_a_graph_that_waits_for_its_backward_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3 * 16), nn.Unflatten(1, (3, 4, 4)))
    loss = module(torch.randn(8, 4)).square().sum()
    disentangle.traverse(disentangle.wrap(module, z_dim=4), steps=2)
    loss.backward()  # no saved tensor was written to
    assert module[0].weight.grad is not None


def test_modules_in_odd_places() -> None:
    inner = nn.Linear(1, 1)
    listed = nn.Identity()
    listed.hidden = [inner]  # not registered, so not among modules()
    assert inner in modules_of(nn.Sequential(listed))

    class Slotted:
        __slots__ = ("inside",)

        def __init__(self) -> None:
            self.inside = inner

    class Property:
        @property
        def module(self) -> nn.Module:
            return inner

    class Cyclic:
        def __init__(self) -> None:
            self.itself, self.net = self, inner

    for thing in (
        Slotted(),
        Property(),
        Cyclic(),
        (lambda m: lambda: lambda: m)(inner),
        torch.no_grad()(lambda: inner),
    ):
        assert modules_of(thing) == [inner]


def test_seeds_of_any_kind() -> None:
    for seed in (0, -1, 2**63, 2**70, -(2**70), 1.5, float("nan"), "text", None, (1, 2), np.int64(3)):
        with own_randomness(seed):
            first = torch.rand(1), random.random(), np.random.rand()
        with own_randomness(seed):
            assert (torch.rand(1), random.random(), np.random.rand()) == first


def test_building_a_model_draws_from_no_global_state() -> None:
    before = torch.get_rng_state()
    with own_randomness(5):
        one = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    build_model({"kind": "gan", "resolution": 32, "latent_dim": 2, "channels": (4, 4, 4, 4)}, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    with own_randomness(5):
        assert torch.equal(torch.rand(2), one)


def test_loading_a_network_that_measures_draws_from_no_global_state() -> None:
    before = torch.get_rng_state()
    load_extractor("efficientnet-lite0", random=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_draws_nothing_either() -> None:
    torch.rand(1, device="cuda")
    before = torch.cuda.get_rng_state()
    with own_randomness(1):
        torch.rand(3, device="cuda")
    build_model({"kind": "gan", "resolution": 32, "latent_dim": 2, "channels": (4, 4, 4, 4)}, seed=0)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_a_wrong_argument_has_pythons_own_words():
    """They name the function, and no other error stands above them."""
    with pytest.raises(TypeError, match=r"^traverse\(\) got an unexpected keyword argument 'seed'") as caught:
        disentangle.traverse(None, seed=3)
    assert caught.value.__context__ is None
    with pytest.raises(TypeError, match=r"^sefa\(\) missing 1 required positional argument: 'generator'"):
        disentangle.latents.sefa()
