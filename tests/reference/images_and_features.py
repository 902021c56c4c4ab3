"""Regenerates the inputs behind ``generation_metrics.json``: features, logits, distances, images and pseudo weights.

Frozen ``RandomState`` streams and elementwise arithmetic only, so that every machine makes equal arrays.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np


def features(
    seed: int, n: int, d: int, shift: float = 0.0, scale: float = 1.0, rank: int = 6, dead: int = 0
) -> np.ndarray:
    """(n, d) float32, not negative, correlated, in the range of Inception's; the first ``dead`` columns are 0."""
    stream, columns = np.random.RandomState(seed), np.random.RandomState(1000 + d)
    x = stream.standard_normal((n, d)) * (0.2 + 0.8 * columns.random_sample((1, d)))
    for _ in range(rank):
        x = x + stream.standard_normal((n, 1)) * (columns.standard_normal((1, d)) * 0.6)
    x = np.maximum(0.35 + 0.25 * scale * x + shift * (columns.random_sample((1, d)) - 0.3), 0.0)
    x[:, :dead] = 0.0
    return x.astype(np.float32)


def logits(seed: int, n: int, c: int) -> np.ndarray:
    """(n, c) float32, one class of each row well ahead."""
    stream = np.random.RandomState(seed)
    x = stream.standard_normal((n, c)) * 1.5
    x[np.arange(n), stream.randint(0, c, n)] += 6.0
    return x.astype(np.float32)


def distances(seed: int, n: int) -> np.ndarray:
    """(n,) float32, positive, with a heavy tail."""
    u = np.random.RandomState(seed).random_sample(n)
    return (100.0 * u / (1.02 - u)).astype(np.float32)


def images(seed: int, n: int, height: int, width: int) -> np.ndarray:
    """(n, 3, height, width) uint8: blocks, ramps and noise."""
    stream = np.random.RandomState(seed)
    made = np.empty((n, 3, height, width), np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    for i in range(n):
        for channel in range(3):
            a, b, p, q = stream.randint(1, 255, 4)
            ramp = (x * a // max(1, width - 1) + y * b // max(1, height - 1)) // 2
            ramp = np.where(((x // (1 + p % 7)) + (y // (1 + q % 5))) % 2 == 0, ramp, 255 - ramp)
            made[i, channel] = np.clip(ramp + stream.randint(-20, 21, (height, width)), 0, 255)
    return made


def pseudo_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by the name of their key: normal numbers of He's scale, batch normalisation near the identity."""
    weights: dict[str, np.ndarray] = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = np.zeros(shape, np.int64)
            continue
        z = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF).standard_normal(tuple(shape))
        if key.endswith("running_var"):
            value = 1.0 + 0.2 * np.abs(z)
        elif key.endswith(("running_mean", "bias")):
            value = 0.1 * z
        elif len(shape) == 1:
            value = 1.0 + 0.1 * z
        else:
            value = z * np.sqrt(2.0 / np.prod(shape[1:]))
        weights[key] = value.astype(np.float32)
    return weights
