"""Inception score."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.evaluations.generation.statistics import read_features
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["inception_score"]


@checks_arguments
def inception_score(
    logits: ArrayLike, *, splits: int = 10, shuffle: bool = True, seed: int = 2020, ddof: int = 0,
    extractor: str = "logits",
) -> Score:  # fmt: skip
    """exp of the mean divergence of each image's class probabilities from their mean, averaged over splits.

    Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016. From 1 to the number of classes. It looks at
    generated images alone, and knows only the classifier's classes.

    Args:
        logits: (n, c), without bias in the packages in use.
        splits: consecutive parts of the images, n not below it.
        shuffle: permute the images first, by ``numpy.random.RandomState(seed)``, as torch-fidelity does.
        seed: of the permutation.
        ddof: of the standard deviation over splits: 0, or 1 in torchmetrics.
        extractor: name of the classifier; the score is ``"is/<extractor>"``.

    Returns:
        Score, higher is better. Parts: ``"split_values"``, ``"standard_deviation"``.

    Raises:
        InputError: if the logits do not fit or there are fewer images than splits.
    """
    start = time.perf_counter()
    array = read_features(logits, "logits", least=1, squared=False)
    splits, ddof = check_integer("splits", splits, least=1), check_integer("ddof", ddof, least=0)
    n = len(array)
    if n < splits:
        raise InputError(f"there are {n} images for {splits} splits; give more images or fewer splits.")
    if shuffle:
        array = array[np.random.RandomState(check_integer("seed", seed, least=0, most=2**32 - 1)).permutation(n)]
    with np.errstate(over="ignore"):  # logits 1e308 apart: a share of 0, whose logarithm may be -infinity
        logarithms = array - array.max(axis=1, keepdims=True)
    logarithms = logarithms - np.log(np.exp(logarithms).sum(axis=1, keepdims=True))
    values = []
    for i in range(splits):
        part = logarithms[i * n // splits : (i + 1) * n // splits]
        shares = np.exp(part)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = part - np.log(shares.mean(axis=0, keepdims=True))
        divergence = np.sum(np.multiply(shares, ratio, out=np.zeros_like(part), where=shares > 0), axis=1)
        values.append(float(np.exp(divergence.mean())))
    return Score(
        name=f"is/{extractor}",
        value=float(np.mean(values)),
        parts={
            "split_values": np.array(values),
            "standard_deviation": float(np.std(values, ddof=ddof)) if splits > ddof else 0.0,
        },
        settings={
            "extractor": extractor,
            "n_1": n,
            "classes": array.shape[1],
            "splits": splits,
            "shuffle": shuffle,
            "seed": seed if shuffle else None,
            "ddof": ddof,
            "packages": package_versions("numpy"),
        },
        seconds=time.perf_counter() - start,
    )
