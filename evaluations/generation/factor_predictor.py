"""MIG of a generator that has no encoder: a network is taught the factors, then reads them off generated images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.checks import check_integer, check_number
from disentangle.errors import InputError
from disentangle.evaluations.classes import Generator, plan_classes
from disentangle.evaluations.disentanglement.mig import mig
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looking_at, looks_at, own_randomness
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["FactorPredictor", "factor_predictor_mig", "train_factor_predictor"]


@dataclass(frozen=True)
class FactorPredictor:
    """A network that names the factors of a data set's pictures, made by :func:`train_factor_predictor`.

    Attributes:
        network: pictures (n, C, H, W) in [-1, 1] to logits of all values of all factors.
        sizes: values of each factor.
        image_shape: (C, H, W).
        accuracy: (k,) on pictures it has not learnt from.
        settings: of its training.
        device: where it runs.
    """

    network: Any
    sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    accuracy: np.ndarray
    settings: dict[str, Any]
    device: Any = "cpu"

    def name_factors(self, images: Tensor) -> Tensor:
        """(n, k) int64, the likeliest value of each factor, of pictures in [-1, 1]."""
        with looking_at(self.network):
            return _named(self.network, images.to(self.device), self.sizes)


@checks_arguments
def train_factor_predictor(
    dataset: Any,
    *,
    steps: int = 2_000,
    batch: int = 64,
    rate: float = 1e-3,
    seed: int = 0,
    device: Any = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> FactorPredictor:
    """Train a small convolutional network to name every factor of a data set's pictures.

    Args:
        dataset: as :class:`disentangle.data.FactorDataset`.
        steps, batch, rate: of its training (Adam).
        seed: of weights and draws.
        device: where it runs.
        progress: called with (steps done, steps in all).
    """
    import torch

    steps, batch = check_integer("steps", steps, least=1), check_integer("batch", batch, least=1)
    rate = check_number("rate", rate, above=0)
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    sizes = tuple(dataset.factor_sizes)
    with own_randomness(seed):
        network = _network(tuple(dataset.image_shape), sum(sizes)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(steps):
        factors = dataset.sample(batch, stream)
        logits = _by_factor(network(2 * dataset.render(factors).to(device) - 1), sizes)
        losses = [
            torch.nn.functional.cross_entropy(part, labels.to(device))
            for part, labels in zip(logits, factors.T, strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()
    unseen = dataset.sample(1_000, stream)
    with torch.inference_mode():
        named = [_named(network, (2 * dataset.render(part) - 1).to(device), sizes) for part in unseen.split(256)]
    return FactorPredictor(
        network, sizes, tuple(dataset.image_shape), (torch.cat(named) == unseen).double().mean(0).numpy(),
        {"steps": steps, "batch": batch, "rate": rate, "seed": seed}, device,
    )  # fmt: skip


@checks_arguments
@looks_at("generator", "predictor")
def factor_predictor_mig(
    generator: Generator,
    dataset: Any,
    *,
    steps: int = 2_000,
    batch: int = 64,
    rate: float = 1e-3,
    n: int = 10_000,
    space: str | None = None,
    bins: int = 20,
    baselines: bool = True,
    seed: int = 0,
    device: Any = "cpu",
    progress: Callable[[int, int], None] | None = None,
    predictor: FactorPredictor | None = None,
    label: int | None = None,
    class_shares: Sequence[float] | None = None,
) -> Score:
    """MIG of the generator's latents with the factors that a network sees in its images.

    The network learns on the data set's pictures (:func:`train_factor_predictor`); it then names the factors of
    generated images, and MIG is that of the walked latent coordinates with the names. It measures the generator as far
    as the network can see: read it beside ``parts["accuracy"]``, the network's accuracy on pictures it has not learnt
    from, and only for generators trained on this data set.

    Args:
        generator: as :class:`disentangle.models.Generator`, images in [-1, 1] of the data set's size and channels.
        dataset: as :class:`disentangle.data.FactorDataset`.
        steps, batch, rate: of the network's training.
        n: images generated.
        space: of the latents; the generator's first by default.
        bins: of MIG.
        baselines: see :func:`disentangle.evaluations.disentanglement.mig`.
        seed: of all draws.
        device: where the networks run.
        progress: called with (steps done, steps in all).
        predictor: a network that is trained already, for several generators.
        label, class_shares: of a generator with classes, see :func:`~disentangle.evaluations.classes.plan_classes`.

    Returns:
        Score ``"mig/factor-predictor"`` with MIG's parts and ``"accuracy"`` (k,).

    Raises:
        InputError: if the images of generator and data set, or predictor, differ in shape.
    """
    import torch

    start = time.perf_counter()
    n = check_integer("n", n, least=2)
    name = next(iter(generator.spaces)) if space is None else space
    plan = plan_classes(generator, n, label=label, class_shares=class_shares, seed=check_integer("seed", seed, least=0))
    one = plan.part(generator, 0, 1)
    sample = one.sample_latents(1, space=name, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shape = tuple(one(sample, space=name).shape[1:])
    expected = tuple(dataset.image_shape if predictor is None else predictor.image_shape)
    if shape != expected:
        raise InputError(f"the generator's images have shape {shape}, the data set's {expected}; they must be equal.")
    if predictor is None:
        predictor = train_factor_predictor(
            dataset, steps=steps, batch=batch, rate=rate, seed=seed, device=device, progress=progress
        )
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    with torch.inference_mode():
        latents = plan.part(generator, 0, n).sample_latents(n, space=name, generator=stream)
        seen = torch.cat([
            predictor.name_factors(plan.part(generator, first, first + 256)(latents[first : first + 256], space=name))
            for first in range(0, n, 256)
        ])  # fmt: skip
    codes = latents.cpu().flatten(1)[:, list(generator.spaces[name].walk)]
    if bool((seen == seen[:1]).all()):  # nothing varies that could be told
        warning = "the network names all generated images alike; is it trained enough, and the generator on this data?"
        score = Score("mig", 0.0, {"per_factor": np.zeros(seen.shape[1])}, {"n_train": n, "warning": warning})
    else:
        score = mig(codes, seen, bins=bins, baselines=baselines, seed=seed)
    return replace(
        score,
        name="mig/factor-predictor",
        parts={**score.parts, "accuracy": predictor.accuracy},
        settings={
            **score.settings, **predictor.settings, "space": name, "seed": seed, **plan.settings,
            "packages": package_versions("numpy", "torch"),
        },
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _by_factor(logits: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return logits.split(list(sizes), dim=1)


def _named(network: Any, images: Tensor, sizes: tuple[int, ...]) -> Tensor:
    import torch

    return torch.stack([part.argmax(1) for part in _by_factor(network(images), sizes)], dim=1).cpu()


def _network(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Strided convolutions down to 4 pixels, and two linear layers."""
    from torch import nn

    layers: list[nn.Module] = []
    channels, side, width = shape[0], shape[1], 32
    while side > 4:
        layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(inplace=True)]
        channels, width, side = width, min(2 * width, 128), side // 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * side * side, 256), nn.ReLU(inplace=True), nn.Linear(256, outputs)
    )
