"""MIG of a generator that has no encoder: a network is taught the factors, then reads them off generated images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.inputs import check_integer
from disentangle.evaluations.disentanglement.mig import mig
from disentangle.evaluations.score import Score, package_versions

if TYPE_CHECKING:
    from torch import nn

__all__ = ["factor_predictor_mig"]


def factor_predictor_mig(
    generator: Any,
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
) -> Score:
    """MIG of the generator's latents with the factors that a network sees in its images.

    A small convolutional network learns to name every factor of the data set's pictures; it then names those of
    generated images, and MIG is that of the walked latent coordinates with the names. It measures the generator as far
    as the network can see: read it beside ``parts["accuracy"]``, the network's accuracy on pictures it has not learnt
    from, and only for generators trained on this data set.

    Args:
        generator: as :class:`disentangle.models.Generator`, images in [-1, 1] of the data set's size and channels.
        dataset: as :class:`disentangle.data.FactorDataset`.
        steps, batch, rate: of the network's training (Adam).
        n: images generated.
        space: of the latents; the generator's first by default.
        bins: of MIG.
        baselines: see :func:`disentangle.evaluations.disentanglement.mig`.
        seed: of all draws.
        device: where the networks run.
        progress: called with (steps done, steps in all).

    Returns:
        Score ``"mig/factor-predictor"`` with MIG's parts and ``"accuracy"`` (k,).

    Raises:
        InputError: if the images of generator and data set differ in shape.
    """
    import torch

    start = time.perf_counter()
    steps, n = check_integer("steps", steps, least=1), check_integer("n", n, least=2)
    name = next(iter(generator.spaces)) if space is None else space
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0))
    sample = generator.sample_latents(1, space=name, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shape = tuple(generator(sample, space=name).shape[1:])
    if shape != tuple(dataset.image_shape):
        raise InputError(
            f"the generator's images have shape {shape}, the data set's {tuple(dataset.image_shape)}; "
            "they must be equal."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(shape, sum(dataset.factor_sizes)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    ends = list(np.cumsum(dataset.factor_sizes))[:-1]
    for step in range(steps):
        factors = dataset.sample(batch, stream)
        logits = network(2 * dataset.render(factors).to(device) - 1).tensor_split(ends, dim=1)
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

    def name_factors(images: Any) -> Any:
        parts = network(images.to(device)).tensor_split(ends, dim=1)
        return torch.stack([part.argmax(1) for part in parts], dim=1).cpu()

    with torch.inference_mode():
        unseen = dataset.sample(1_000, stream)
        named = torch.cat([name_factors(2 * dataset.render(part) - 1) for part in unseen.split(256)])
        accuracy = (named == unseen).double().mean(0).numpy()
        latents = generator.sample_latents(n, space=name, generator=stream)
        seen = torch.cat([name_factors(generator(part, space=name)) for part in latents.split(256)])
    codes = latents.cpu().flatten(1)[:, list(generator.spaces[name].walk)]
    if bool((seen == seen[:1]).all()):  # nothing varies that could be told
        warning = "the network names all generated images alike; is it trained enough, and the generator on this data?"
        score = Score("mig", 0.0, {"per_factor": np.zeros(seen.shape[1])}, {"n_train": n, "warning": warning})
    else:
        score = mig(codes, seen, bins=bins, baselines=baselines, seed=seed)
    return replace(
        score,
        name="mig/factor-predictor",
        parts={**score.parts, "accuracy": accuracy},
        settings={
            **score.settings, "steps": steps, "batch": batch, "rate": rate, "space": name, "seed": seed,
            "packages": package_versions("numpy", "torch"),
        },
        seconds=time.perf_counter() - start,
    )  # fmt: skip


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
