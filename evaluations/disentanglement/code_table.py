"""Codes of a data set with known factors, each distinct picture encoded once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disentangle.checks import read_array
from disentangle.errors import InputError
from disentangle.evaluations.answers import CodeReader
from disentangle.looking import looking_at
from disentangle.signatures import described

__all__ = ["CodeTable"]


class CodeTable:
    """Looks codes up by factors, and encodes what it has not met.

    Metrics that intervene ask for a million pictures, but a data set has far fewer distinct ones: 17,568 in Cars3D,
    480,000 in 3D Shapes. The encoder is taken to be deterministic (a VAE's posterior means); for one that is not, give
    ``cache=False``.

    Memory: the codes of the pictures met so far, 4 d + 8 bytes each.

    Args:
        compute: factors (m, k) int64 to codes (m, d); for pictures and an encoder, see :meth:`of`.
        sizes: number of values of each factor.
        names: of the factors.
        batch: factors given to ``compute`` at once.
        cache: whether equal factors have equal codes.
        progress: called with (points computed so far, points known to be needed).

    Raises:
        InputError: if no factor has two values or more.
    """

    def __init__(
        self, compute: Callable[[np.ndarray], np.ndarray], sizes: Sequence[int], *, names: Sequence[str] = (),
        batch: int = 1024, cache: bool = True, progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.sizes = tuple(int(size) for size in sizes)
        if not any(size > 1 for size in self.sizes):
            raise InputError(f"the factors have sizes {self.sizes}; expected one with two values or more.")
        self.names, self.batch, self.cache = tuple(names), batch, cache
        self.varying = np.flatnonzero(np.array(self.sizes) > 1)  # the factors that an intervention can change
        self.encoded = 0  # points computed
        self._compute, self._progress = compute, progress
        self._known = np.empty(0, dtype=np.int64)  # rising positions in the grid
        self._rows: np.ndarray | None = None

    @classmethod
    def of(
        cls, encode: Callable[[Any], Any], dataset: Any, *, batch: int = 1024, device: Any = "cpu",
        cache: bool = True, progress: Callable[[int, int], None] | None = None,
    ) -> CodeTable:  # fmt: skip
        """The table of an encoder.

        Args:
            encode: images (b, C, H, W) float32 in [0, 1] on ``device`` to codes (b, d), or to a posterior, whose mean
                is taken (:class:`~disentangle.evaluations.answers.CodeReader`).
            dataset: has ``factor_sizes`` and ``render(factors)``, as :class:`disentangle.data.FactorDataset` does.
            batch: pictures encoded at once.
            device: where images are put.
            cache, progress: see the class.
        """

        if isinstance(dataset, type) or not (hasattr(dataset, "factor_sizes") and hasattr(dataset, "render")):
            raise InputError(
                f"dataset is {described(dataset)}; expected one with known factors, as disentangle.data.Rooms()."
            )
        read = CodeReader()
        seeds = itertools.count()  # an encoder that draws does not draw the same for each batch

        def compute(factors: np.ndarray) -> np.ndarray:
            import torch

            with looking_at(encode, seed=next(seeds)), torch.inference_mode():
                images = dataset.render(torch.from_numpy(np.ascontiguousarray(factors)))
                return read(encode(images.to(device)))

        names = getattr(dataset, "factor_names", ())
        return cls(compute, dataset.factor_sizes, names=names, batch=batch, cache=cache, progress=progress)

    def codes(self, factors: np.ndarray) -> np.ndarray:
        """(m, k) int64 factors to (m, d) float32 codes.

        Raises:
            InputError: if the encoder does not return a row of finite numbers for each picture.
        """
        if not self.cache:
            return self._batches(factors)
        places = np.ravel_multi_index(tuple(factors.T), self.sizes)
        wanted = np.unique(places)
        missing = np.setdiff1d(wanted, self._known, assume_unique=True)
        if len(missing):
            rows = self._batches(np.stack(np.unravel_index(missing, self.sizes), axis=1))
            known = np.concatenate([self._known, missing])
            order = np.argsort(known, kind="stable")
            rows = rows if self._rows is None else np.concatenate([self._rows, rows])
            self._known, self._rows = known[order], rows[order]
        assert self._rows is not None
        return self._rows[np.searchsorted(self._known, places)]

    def _batches(self, factors: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(factors), self.batch):
            part = factors[start : start + self.batch]
            codes = read_array(self._compute(part), "codes of the encoder", finite=False)
            if codes.ndim != 2 or len(codes) != len(part):
                raise InputError(
                    f"The encoder returned shape {codes.shape} for {len(part)} pictures; expected ({len(part)}, d)."
                )
            if not np.all(np.isfinite(codes)):
                raise InputError("The encoder returned NaN or infinite codes; nothing can be measured on them.")
            with np.errstate(over="ignore"):
                single = codes.astype(np.float32, copy=False)
            if not np.all(np.isfinite(single)):
                raise InputError(
                    f"The encoder returned codes up to {np.abs(codes).max():g}, beyond single precision; give them in "
                    "a larger unit."
                )
            parts.append(single)
            self.encoded += len(part)
            if self._progress is not None:
                self._progress(self.encoded, self.encoded + len(factors) - start - len(part))
        return np.concatenate(parts)
