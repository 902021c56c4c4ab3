"""Codes and factors of a data set by any encoder; logits and labels of one by any classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from disentangle.checks import check_integer, read_array
from disentangle.errors import InputError
from disentangle.evaluations.answers import CodeReader
from disentangle.looking import looks_at
from disentangle.signatures import checks_arguments

__all__ = ["classify_dataset", "encode_dataset"]


@checks_arguments
@looks_at("encode")
def encode_dataset(
    encode: Callable[[Any], Any],
    dataset: Any,
    *,
    n: int = 15_000,
    seed: int = 0,
    batch: int = 256,
    device: Any = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes of ``n`` random pictures, and the factors they were made of.

    Args:
        encode: images (b, C, H, W) float32 in [0, 1] on ``device`` to codes (b, d), or to a posterior, whose mean is
            taken (:class:`~disentangle.evaluations.answers.CodeReader`).
        dataset: has ``sample(n, generator)`` and ``render(factors)``, as
            :class:`disentangle.data.FactorDataset` does, or ``draw`` and ``images``, as
            :class:`disentangle.data.ListedFactors`.
        n: pictures, drawn uniformly and independently from the grid of factors; of a list all different.
        seed: of the draw.
        batch: pictures encoded at once.
        device: where images are put.
        progress: called with (pictures done, pictures in all).

    Returns:
        (n, d) float32 codes and (n, k) int64 factors, of a list float64 where some are continuous.

    Raises:
        InputError: if the encoder does not return one row of numbers for each picture.
    """
    import torch

    n = check_integer("n", n, least=1)
    if hasattr(dataset, "draw"):
        indices, labels, _ = dataset.draw(n, seed=seed)
        factors, n = torch.from_numpy(labels), len(indices)
    else:
        indices, factors = None, dataset.sample(n, torch.Generator().manual_seed(seed))
    parts = []
    read = CodeReader()
    with torch.inference_mode():
        for start in range(0, n, batch):
            part = slice(start, start + batch)
            images = dataset.render(factors[part]) if indices is None else dataset.images(indices[part])
            codes = read(encode(images.to(device)))
            if codes.ndim != 2 or len(codes) != len(images):
                raise InputError(
                    f"The encoder returned shape {codes.shape} for {len(images)} pictures; expected ({len(images)}, d)."
                )
            parts.append(_single(codes, "codes"))
            if progress is not None:
                progress(min(start + batch, n), n)
    return np.concatenate(parts), factors.numpy()


@checks_arguments
@looks_at("classify")
def classify_dataset(
    classify: Callable[[Any], Any],
    dataset: Any,
    *,
    batch: int = 256,
    device: Any = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of every picture of a labelled data set, and its labels.

    Args:
        classify: images (b, C, H, W) float32 in [0, 1] on ``device`` to logits (b, c).
        dataset: has ``len``, ``images(indices)`` and ``labels``, as :class:`disentangle.data.LabelledImageSource` does.
        batch: pictures classified at once.
        device: where images are put.
        progress: called with (pictures done, pictures in all).

    Returns:
        (n, c) float32 logits and (n,) int64 labels.

    Raises:
        InputError: if the data set has no labels, or the classifier does not return one row for each picture.
    """
    import torch

    if getattr(dataset, "labels", None) is None:
        raise InputError("The data set has no labels to score against; expected a class for each picture.")
    n = len(dataset)
    parts = []
    with torch.inference_mode():
        for start in range(0, n, batch):
            indices = torch.arange(start, min(start + batch, n))
            logits = torch.as_tensor(classify(dataset.images(indices).to(device)))
            if logits.ndim != 2 or len(logits) != len(indices):
                raise InputError(
                    f"The classifier returned shape {tuple(logits.shape)} for {len(indices)} pictures; "
                    f"expected ({len(indices)}, c)."
                )
            parts.append(_single(logits, "logits"))
            if progress is not None:
                progress(min(start + batch, n), n)
    return np.concatenate(parts), dataset.labels.numpy()


def _single(numbers: Any, name: str) -> np.ndarray:
    """In float32; what is too large for it becomes infinite, which the metrics refuse."""
    with np.errstate(over="ignore"):
        return read_array(numbers, name, finite=False).astype(np.float32, copy=False)
