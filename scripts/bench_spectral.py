"""How fast the roots and the orthogonal parametrisation are, forward and backward, beside what others do.

    python scripts/bench_spectral.py [--rounds 15]

One thread, float32 input, methods interleaved in one process, medians of CPU time; only ratios matter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click
import torch
from timing import medians
from torch import Tensor, nn

from disentangle.linalg import matrix_inverse_sqrt, matrix_sqrt
from disentangle.nn import orthogonal_weight

SHAPES = ((1, 64), (16, 64), (32, 256))


def eigh_autograd(P: Tensor, power: float) -> Tensor:
    """The root by torch's own derivative of ``eigh``."""
    l, V = torch.linalg.eigh(P)
    return (V * l.pow(power).unsqueeze(-2)) @ V.mT


def methods(inverse: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    ours = matrix_inverse_sqrt if inverse else matrix_sqrt
    return {
        "eigh autograd": partial(eigh_autograd, power=-0.5 if inverse else 0.5),
        "eigh, float64 inside": ours,
        "eigh, float32 inside": partial(ours, precision="input"),
        "MPA-Lya": partial(ours, method="pade", precision="input"),
        "Newton-Schulz 7": partial(ours, method="newton_schulz", precision="input"),
    }


def both_ways(function: Callable[[Tensor], Tensor], P: Tensor, G: Tensor) -> None:
    (function(P) * G).sum().backward()
    P.grad = None


def bench_roots(rounds: int) -> None:
    for inverse in (False, True):
        print("inverse root" if inverse else "root")
        for batch, n in SHAPES:
            generator = torch.Generator().manual_seed(0)
            X = torch.randn(batch, n, 4 * n, generator=generator)
            P = (X @ X.mT / (4 * n) + 1e-3 * torch.eye(n)).requires_grad_()
            G = torch.randn(batch, n, n, generator=generator)
            functions = {name: partial(both_ways, f, P, G) for name, f in methods(inverse).items()}
            result = medians(functions, rounds if batch * n < 2000 else max(5, rounds // 4))
            baseline = result["eigh autograd"]
            cells = ", ".join(f"{name} {value / baseline:.2f}" for name, value in result.items())
            print(f"  {batch}x{n}x{n}: eigh autograd {baseline:.2f} ms; times that: {cells}", flush=True)


def bench_orthogonal(rounds: int) -> None:
    layers: dict[str, nn.Module] = {"polar": orthogonal_weight(nn.Linear(576, 64))}
    for name in ("matrix_exp", "cayley", "householder"):
        layers[name] = nn.utils.parametrizations.orthogonal(nn.Linear(576, 64), orthogonal_map=name)

    G = torch.randn(64, 576, generator=torch.Generator().manual_seed(0))

    def both_ways(layer: nn.Module) -> None:
        """The weight and its derivative alone, without a loss."""
        original = layer.parametrizations.weight.original  # type: ignore[union-attr]
        torch.autograd.grad(layer.weight, original, G)  # type: ignore[arg-type]

    functions = {name: partial(both_ways, layer) for name, layer in layers.items()}
    for title, block in (("taking turns", 0.0), ("each for 0.1 s", 100.0)):
        result = medians(functions, max(5, rounds // 2), block=block)
        others = [f"torch {name} {value / result['polar']:.1f}x" for name, value in result.items() if name != "polar"]
        print(f"orthogonal weight 64x576, {title}: polar {result['polar']:.2f} ms; {', '.join(others)}")


@click.command()
@click.option("--rounds", default=15, show_default=True)
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, float32, medians of {rounds}")
    bench_roots(rounds)
    bench_orthogonal(rounds)


if __name__ == "__main__":
    main()
