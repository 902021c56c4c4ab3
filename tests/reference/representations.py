"""Regenerates the arrays behind ``disentanglement_metrics.json`` from (kind, space, seed).

The draws come from numpy's legacy ``RandomState``, whose streams are frozen: per part (10,000 training
points, then 5,000 held-out ones) one ``randint`` a factor, in order, then one ``randn(n, 10)``. The rotation has a
stream of its own.
"""

from __future__ import annotations

import hashlib

import numpy as np

CODES = 10
SPACES = {
    "shapes3d": (10, 10, 10, 8, 4, 15),
    "dsprites": (3, 6, 40, 32, 32),
    "mpi3d": (6, 6, 2, 3, 3, 40, 40),
}

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def arrays(kind: str, space: str, seed: int, *, n_train: int = 10_000, n_test: int = 5_000) -> Arrays:
    """Training codes (float32) and factors, then held-out codes and factors."""
    sizes = SPACES[space]
    stream = np.random.RandomState(seed)
    parts = []
    for n in (n_train, n_test):
        factors = np.stack([stream.randint(size, size=n) for size in sizes], axis=1)
        parts += [_codes(kind, factors, np.array(sizes, dtype=float), stream.randn(n, CODES), seed), factors]
    return parts[0], parts[1], parts[2], parts[3]


def encoded(kind: str, factors: np.ndarray, space: str, noise: np.ndarray, seed: int) -> np.ndarray:
    """Codes (n, 10) float32 of given factors and noise (n, 10)."""
    return _codes(kind, factors, np.array(SPACES[space], dtype=float), noise, seed)


def digest(parts: Arrays) -> str:
    """First 16 digits of the SHA-256 of codes (to 4 decimals) and factors: training codes, held-out codes, factors."""
    train_codes, train_factors, test_codes, test_factors = parts
    total = hashlib.sha256()
    for codes in (train_codes, test_codes):
        total.update(np.ascontiguousarray(codes.round(4)).tobytes())
    for factors in (train_factors, test_factors):
        total.update(np.ascontiguousarray(factors.astype(np.int64)).tobytes())
    return total.hexdigest()[:16]


def _codes(kind: str, factors: np.ndarray, sizes: np.ndarray, noise: np.ndarray, seed: int) -> np.ndarray:
    k = len(sizes)
    scaled = (factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)  # mean 0, variance 1
    codes = noise.copy()
    if kind in ("perfect", "rotated"):
        codes[:, :k] = scaled
    elif kind in ("noisy", "rotated_pairs", "periodic"):
        codes[:, :k] = scaled + 0.3 * noise[:, :k]
    elif kind in ("dead", "constant"):
        codes[:, :k] = scaled + 0.1 * noise[:, :k]
        codes[:, k:] = 0.01 * noise[:, k:] if kind == "dead" else 0.0
    elif kind == "duplicated":
        codes = scaled[:, np.arange(CODES) % k] + 0.1 * noise
    elif kind == "shared":
        codes[:, :k] = 0.8 * scaled + 0.6 * np.roll(scaled, -1, axis=1) + 0.1 * noise[:, :k]
    elif kind != "random":
        raise ValueError(kind)

    if kind == "rotated":
        mixing = np.random.RandomState(seed + 1000).randn(CODES, CODES)
        codes = codes @ np.linalg.qr(mixing)[0]
    elif kind == "rotated_pairs":
        for i in range(0, k - 1, 2):
            first, second = codes[:, i].copy(), codes[:, i + 1].copy()
            codes[:, i], codes[:, i + 1] = np.sqrt(0.5) * (first - second), np.sqrt(0.5) * (first + second)
    elif kind == "periodic":
        angle = 2 * np.pi * factors[:, -1] / sizes[-1]
        codes[:, k - 1] = np.sin(angle) + 0.1 * noise[:, k - 1]
        codes[:, k] = np.cos(angle) + 0.1 * noise[:, k]
    return codes.astype(np.float32)
