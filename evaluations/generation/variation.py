"""Variation predictability (VP): can one tell from two images which latent was moved?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from disentangle.checks import check_integer, check_number, read_array
from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.classes import Generator, plan_classes
from disentangle.evaluations.features.protocols import to_uint8
from disentangle.evaluations.generation.path_length import piece_sizes
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looks_at, own_randomness
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PRESETS", "VariationSettings", "make_pairs", "variation_predictability"]

_MOST_LATENTS = 100_000  # classes of the predictor


@dataclass(frozen=True)
class VariationSettings:
    """How the predictor is trained.

    Attributes:
        epochs: passes over the training pairs.
        input: "diff", the difference of the two images; "concat", both.
        train_fraction: of the pairs, in (0, 1); the others are the test set.
        rate: of Adam.
        batch: pairs in a step.
        test_every: epochs between tests; the last epoch is always tested.
    """

    epochs: int = 200
    input: Literal["diff", "concat"] = "diff"
    train_fraction: float = 0.1
    rate: float = 0.01
    batch: int = 32
    test_every: int = 10


# The published code's instructions, which papers follow, and its own defaults. Both test after every epoch there.
PRESETS = {
    "zhu-2020": VariationSettings(),
    "zhu-2020-defaults": VariationSettings(epochs=60, input="concat", train_fraction=0.5),
}


@checks_arguments
@looks_at("generator")
def make_pairs(
    generator: Generator, n: int = 10_000, *, space: str | None = None, extent: float = 2.0, batch: int = 64,
    seed: int = 0, label: int | None = None, class_shares: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Pairs of images that differ in one coordinate of the latent.

    Args:
        generator: as :class:`disentangle.models.Generator`; coordinates that its space does not walk stay equal.
        n: pairs.
        space: of the latents; the generator's first by default.
        extent: both values of the coordinate are uniform on [-extent, extent].
        batch: pairs made at once; it moves no draw.
        seed: of all draws.
        label, class_shares: of a generator with classes, see :func:`~disentangle.evaluations.classes.plan_classes`;
            both images are of one class.
        progress: called with (pairs done, pairs in all).

    Returns:
        (n, 2, C, H, W) uint8 pairs, never compressed, and (n,) int64 which of the walked coordinates was moved.
    """
    import torch

    n, batch = check_integer("n", n, least=1), check_integer("batch", batch, least=1)
    extent = check_number("extent", extent, above=0)
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    name = next(iter(generator.spaces)) if space is None else space
    walk = torch.tensor(generator.spaces[name].walk)
    labels = torch.randint(len(walk), (n,), generator=stream)
    plan = plan_classes(generator, n, label=label, class_shares=class_shares, seed=seed)
    parts = []
    with torch.inference_mode():
        done = 0
        for count in piece_sizes(n):
            moved = walk[labels[done : done + count]]
            drawn = plan.part(generator, done, done + count).sample_latents(count, space=name, generator=stream)
            values = extent * (2 * torch.rand(2, count, generator=stream) - 1)
            for latents, coordinate, both in zip(
                drawn.split(batch), moved.split(batch), values.split(batch, dim=1), strict=True
            ):
                of_batch = plan.part(generator, done, done + len(latents))
                images = []
                for value in both:
                    flat = latents.clone().flatten(1)
                    flat[torch.arange(len(flat)), coordinate] = value.to(flat)
                    images.append(to_uint8(of_batch(flat.reshape(latents.shape), space=name).cpu()))
                parts.append(torch.stack(images, dim=1))
                done += len(latents)
                if progress is not None:
                    progress(done, n)
    return torch.cat(parts), labels


@checks_arguments
def variation_predictability(
    pairs: Tensor,
    labels: Tensor,
    *,
    preset: str = "zhu-2020",
    seed: int = 0,
    device: Any = "cpu",
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Score:
    """Test accuracy of a small network that says which latent was moved between two images.

    Zhu, Xu and Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020, section
    3.4. The published number is the best epoch's on the test set; it is in the parts, and the value is the last
    epoch's, which was not chosen by the test set.

    Args:
        pairs: (n, 2, C, H, W) uint8, see :func:`make_pairs`.
        labels: (n,) integers, from 0.
        preset: a key of :data:`PRESETS`.
        seed: of the split, the network and the order of training.
        device: where it runs.
        progress: called with (epochs done, epochs in all).
        **changes: fields of :class:`VariationSettings` to replace.

    Returns:
        Score ``"vp"``. Parts: ``"best"``, ``"best_epoch"``, ``"per_epoch"`` (tests, 2) epoch and accuracy,
        ``"per_code"`` accuracy for each label at the last epoch. Chance is the share of the most frequent label.

    Raises:
        InputError: if pairs and labels do not fit, or a part of the split would be empty.
    """
    import torch

    start = time.perf_counter()
    if preset not in PRESETS:
        raise unknown_name("VP preset", preset, PRESETS)
    for field in changes:
        if field not in asdict(PRESETS[preset]):
            raise unknown_name("setting of VP", field, asdict(PRESETS[preset]))
    how = replace(PRESETS[preset], **changes)
    for field in ("epochs", "batch", "test_every"):
        check_integer(field, getattr(how, field), least=1)
    check_number("rate", how.rate, above=0)
    check_number("train_fraction", how.train_fraction, above=0, below=1)
    pairs, labels = _read_pairs(pairs, labels)
    if how.input not in ("diff", "concat"):
        raise InputError(f"input is {how.input!r}; expected 'diff' or 'concat'.")
    n, classes = len(pairs), int(labels.max()) + 1
    train_count = round(how.train_fraction * n)
    if not 0 < train_count < n or classes < 2:
        raise InputError(
            f"{n} pairs of {classes} latents at a train_fraction of {how.train_fraction:g} leave nothing to learn or "
            "to test; give more pairs, or another fraction."
        )
    order = torch.randperm(
        n, generator=torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    )
    train, test = order[:train_count], order[train_count:]
    tests: list[tuple[int, float]] = []
    named = torch.empty(0)
    with own_randomness(seed):
        network = _network(pairs.shape[2] * (1 if how.input == "diff" else 2), classes).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=how.rate)
        for epoch in range(1, how.epochs + 1):
            network.train()
            for rows in train[torch.randperm(len(train))].split(how.batch):
                if len(rows) < 2:  # one pair has no statistics to normalise by
                    continue
                optimizer.zero_grad()
                output = network(_inputs(pairs[rows], how.input, device))
                torch.nn.functional.cross_entropy(output, labels[rows].to(device)).backward()
                optimizer.step()
            if epoch % how.test_every == 0 or epoch == how.epochs:
                named = _predict(network, pairs, test, how.input, device)
                tests.append((epoch, float((named == labels[test]).float().mean())))
            if progress is not None:
                progress(epoch, how.epochs)
    best_epoch, best = max(tests, key=lambda entry: entry[1])
    right = (named == labels[test]).double()
    counts = torch.bincount(labels[test], minlength=classes)
    per_code = torch.bincount(labels[test], weights=right, minlength=classes) / counts.clamp(min=1)
    return Score(
        name="vp",
        value=tests[-1][1],
        parts={
            "best": best,
            "best_epoch": best_epoch,
            "per_epoch": np.array(tests),
            "per_code": per_code.numpy(),
        },
        settings={
            "protocol": preset if how == PRESETS[preset] else f"custom (from {preset})",
            **asdict(how),
            "n": n,
            "n_train": train_count,
            "latents": classes,
            "size": pairs.shape[-1],
            "seed": seed,
            "packages": package_versions("torch"),
        },
        chance=float(counts.max() / counts.sum()),
        ceiling=1.0,
        seconds=time.perf_counter() - start,
    )


def _read_pairs(pairs: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """(n, 2, C, H, W) uint8 and (n,) int64 tensors."""
    import torch

    images, named = (read_array(given, name) for given, name in ((pairs, "pairs"), (labels, "labels")))
    if images.ndim != 5 or images.shape[1] != 2 or images.dtype != np.uint8 or named.shape != images.shape[:1]:
        raise InputError(
            f"pairs have shape {images.shape} and dtype {pairs.dtype if hasattr(pairs, 'dtype') else images.dtype}, "
            f"labels {named.shape}; expected (n, 2, C, H, W) of uint8 and (n,)."
        )
    if not len(named) or named.dtype.kind not in "iu" or named.min() < 0 or named.max() >= _MOST_LATENTS:
        span = f", from {named.min()} to {named.max()}" if len(named) else ", none"
        raise InputError(
            f"labels have dtype {named.dtype}{span}; expected whole numbers from 0 to {_MOST_LATENTS - 1:,}."
        )
    images, named = (np.require(array, requirements=["C", "W"]) for array in (images, named.astype(np.int64)))
    return torch.from_numpy(images), torch.from_numpy(named)


def _network(channels: int, classes: int) -> nn.Module:
    """Four convolutions, each with batch normalisation and ReLU, averaged over places, and a linear head."""
    from torch import nn

    def layer(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *layer(channels, 64, 7, 2), *layer(64, 64, 3), nn.MaxPool2d(3, 2, 1), *layer(64, 128, 3), *layer(128, 256, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes),
    )  # fmt: skip


def _inputs(pairs: Tensor, kind: str, device: Any) -> Tensor:
    """Images in [-1, 1], one less the other or both."""
    images = pairs.to(device).float() / 127.5 - 1
    return images[:, 0] - images[:, 1] if kind == "diff" else images.flatten(1, 2)


def _predict(network: nn.Module, pairs: Tensor, rows: Tensor, kind: str, device: Any) -> Tensor:
    import torch

    network.eval()
    with torch.inference_mode():
        parts = [network(_inputs(pairs[part], kind, device)).argmax(1).cpu() for part in rows.split(256)]
    return torch.cat(parts)
