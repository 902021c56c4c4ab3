"""The random numbers and pictures of a training.

Randomness is a function of (seed, step, purpose): each draw has a generator of its own, made when it is needed. So a
run that was killed continues exactly, without stored generator states, and since the draws are for the global batch, of
which a process takes its shard, any number of processes sees the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from disentangle.data import ImageSource, LabelledImageSource
from disentangle.training.config import TrainingConfig

__all__ = ["Draws"]


class Draws:
    """What one process draws in each step.

    Args:
        config: of the training.
        shard: positions of this process's pictures in the global batch.
        device: where the draws are put.

    Attributes:
        step: the current one, from 1 on.
    """

    def __init__(self, config: TrainingConfig, shard: slice, device: torch.device) -> None:
        self.config, self.shard, self.device = config, shard, device
        self.step = 0
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))
        self._prefetch: tuple[int, Future[Tensor]] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def close(self) -> None:
        """Stop fetching pictures ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def random(self, purpose: str, step: int | None = None) -> torch.Generator:
        """A generator for one purpose of one step, the same on every process and machine."""
        key = f"{self.config.seed}/{self.step if step is None else step}/{purpose}".encode()
        number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1
        return torch.Generator().manual_seed(number)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """This process's shard of a standard normal (batch, *shape), on its device."""
        return self._local(torch.randn(self.config.batch, *shape, generator=self.random(purpose)))

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """This process's shard of a uniform [0, 1) (batch, *shape), on its device."""
        return self._local(torch.rand(self.config.batch, *shape, generator=self.random(purpose)))

    def latents(self, purpose: str, generator: Any) -> Tensor:
        """This process's shard of a batch of latents from a generator's prior."""
        space = next(iter(generator.spaces.values()))
        return self._local(space.sample(self.config.batch, generator=self.random(purpose)))

    def classes(self, purpose: str, labels: Tensor) -> Tensor:
        """This process's shard of (batch,) classes, each as often as in ``labels``, those of a whole data set."""
        chosen = torch.randint(len(labels), (self.config.batch,), generator=self.random(f"{purpose}, classes"))
        return self._local(labels[chosen])

    def random_each(self, purpose: str) -> list[torch.Generator]:
        """A generator for each picture of this process's shard."""
        return [self.random(f"{purpose} {position}") for position in range(self.shard.start, self.shard.stop)]

    def every(self, n: int) -> slice:
        """Where every n-th picture of the batch lies in this process's shard; its first one, if none of them does."""
        first = -self.shard.start % n
        return slice(first, None, n) if self.shard.start + first < self.shard.stop else slice(0, 1)

    def _local(self, batch: Tensor) -> Tensor:
        return batch[self.shard].to(self.device)

    def pieces(self, count: int) -> Iterator[slice]:
        """Divide this process's shard: positions in it of one piece after the other, while draws are for that piece."""
        whole, length = self.shard, (self.shard.stop - self.shard.start) // count
        try:
            for start in range(0, count * length, length):
                self.shard = slice(whole.start + start, whole.start + start + length)
                yield slice(start, start + length)
        finally:
            self.shard = whole

    def batch(self, source: ImageSource) -> Tensor:
        """This step's shard of images in [0, 1]; every picture is seen once an epoch. The next one is fetched ahead."""
        if self._prefetch is not None and self._prefetch[0] == self.step:
            images = self._prefetch[1].result()
        else:
            images = source.images(self._indices(self.step, len(source)))
        if self.step < self.config.steps:
            indices = self._indices(self.step + 1, len(source))
            self._prefetch = (self.step + 1, self._pool.submit(source.images, indices))
        return images.to(self.device, non_blocking=True)

    def labels(self, source: LabelledImageSource) -> Tensor:
        """The classes of the pictures that :meth:`batch` gives in this step."""
        return source.labels[self._indices(self.step, len(source))].to(self.device)

    def _indices(self, step: int, count: int) -> Tensor:
        """Positions of this process's pictures in step 1, 2, ...: consecutive pieces of one permutation an epoch."""
        start = (step - 1) * self.config.batch
        positions = torch.arange(start, start + self.config.batch)[self.shard]
        epochs, places = positions // count, positions % count
        chosen = torch.empty_like(places)
        for epoch in epochs.unique().tolist():
            mask = epochs == epoch
            chosen[mask] = self._permutation(epoch, count)[places[mask]]
        return chosen

    def _permutation(self, epoch: int, count: int) -> Tensor:
        if self._order[0] != epoch:
            self._order = (epoch, torch.randperm(count, generator=self.random("epoch", epoch)))
        return self._order[1]
