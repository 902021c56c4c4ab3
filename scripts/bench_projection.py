"""How fast the Householder projector's weight is built, with its gradient.

    python scripts/bench_projection.py [--rounds 20]

A weight of rank k and its derivative: by the compact WY form that the toolkit uses, by torch's householder_product, and
by one reflection after the other. Methods are interleaved in one process and medians of CPU time are compared, so that
only ratios matter.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import torch
from timing import medians
from torch import Tensor

from disentangle.nn.frames import householder_frame

SHAPES = ((512, 512, 10), (512, 512, 512), (64, 64, 10), (8192, 30, 30))


def of_torch(reflectors: Tensor) -> Tensor:
    n, k = reflectors.shape
    trapezoid = reflectors.tril(-1) + torch.eye(n, k)
    return torch.linalg.householder_product(trapezoid, 2 / trapezoid.square().sum(dim=0))


def one_after_the_other(reflectors: Tensor) -> Tensor:
    n, k = reflectors.shape
    trapezoid = reflectors.tril(-1) + torch.eye(n, k)
    frame = torch.eye(n, k)
    for i in range(k - 1, -1, -1):
        v = trapezoid[:, i]
        frame = frame - torch.outer(v, 2 / v.dot(v) * (v @ frame))
    return frame


FRAMES: dict[str, Callable[[Tensor], Tensor]] = {
    "compact WY": householder_frame, "householder_product": of_torch, "reflections": one_after_the_other,
}  # fmt: skip


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, cpu, {threads} thread(s), float32, medians of CPU time, weight and gradient")
    for outputs, inputs, rank in SHAPES:
        generator = torch.Generator().manual_seed(0)
        left, right = (torch.randn(n, rank, generator=generator, requires_grad=True) for n in (outputs, inputs))
        upstream = torch.randn(outputs, inputs, generator=generator)

        def build(name: str, left: Tensor = left, right: Tensor = right, upstream: Tensor = upstream) -> None:
            frame = FRAMES[name]
            torch.autograd.grad((frame(left) @ frame(right).mT * upstream).sum(), (left, right))

        few = max(2, rounds // 10) if rank > 100 or outputs > 4000 else rounds
        found = medians({name: lambda name=name: build(name) for name in FRAMES}, few)
        ratios = ", ".join(f"{name} {value / found['compact WY']:.1f}" for name, value in found.items())
        print(f"  {outputs}x{inputs}, rank {rank}: {found['compact WY']:.2f} ms; times as long: {ratios}", flush=True)


if __name__ == "__main__":
    main()
