"""What whitening one layer costs in a training step.

    python scripts/bench_whitening.py [--threads 1]

Methods are interleaved in one process and medians of CPU time are compared, so that only ratios matter. On a CUDA
device wall time around a synchronisation is taken instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import click
import torch
from timing import milliseconds
from torch import nn
from torchvision.models import resnet18

from disentangle.nn import DecorrelatedBatchNorm2d


def training_step(
    norm: Callable[[], nn.Module] | None, images: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    """A step of SGD of a ResNet-18 for 32x32 pictures, with another norm after the stem if one is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet18(num_classes=10)
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    if norm is not None:
        model.bn1 = norm()
    model.to(images.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


NORMS: dict[str, Callable[[], nn.Module] | None] = {
    "BatchNorm2d": None,
    "ZCA": lambda: DecorrelatedBatchNorm2d(64),
    "ZCA, 4 groups": lambda: DecorrelatedBatchNorm2d(64, groups=4),
    "PCA": lambda: DecorrelatedBatchNorm2d(64, whitening="pca"),
    "Cholesky": lambda: DecorrelatedBatchNorm2d(64, whitening="cholesky"),
}


def bench_dbn(device: torch.device, batch: int, rounds: int, names: Sequence[str]) -> None:
    """A training step with whitening after the stem against the same step with BatchNorm."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(10, (batch,), generator=generator).to(device)
    steps = {name: training_step(NORMS[name], images, labels) for name in ("BatchNorm2d", *names)}
    times = milliseconds(steps, rounds, device)
    plain = times["BatchNorm2d"]
    usual = statistics.median(plain)
    print(f"ResNet-18, 32x32, batch {batch}: step with BatchNorm2d {usual:.1f} ms, {rounds} rounds")
    for name, values in times.items():
        middle = statistics.median(values)
        paired = statistics.median(a / b for a, b in zip(values, plain, strict=True))
        print(f"  {name:14} {middle:8.1f} ms, {middle / usual:.3f} times; median of the rounds' ratios {paired:.3f}")


@click.command()
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=25, show_default=True, help="At batch 8; fewer at larger ones.")
@click.option("--batch", "batches", type=int, multiple=True, default=(8, 32), show_default=True)
@click.option("--norm", "names", type=click.Choice(list(NORMS)[1:]), multiple=True, default=list(NORMS)[1:])
@click.option("--device", default="cpu", show_default=True)
def main(threads: int, rounds: int, batches: tuple[int, ...], names: tuple[str, ...], device: str) -> None:
    torch.set_num_threads(threads)
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"cpu, {threads} thread(s)"
    print(f"torch {torch.__version__}, {name}, float32, medians")
    for batch in batches:
        bench_dbn(where, batch, max(3, rounds * min(8, batch) // batch), names)


if __name__ == "__main__":
    main()
