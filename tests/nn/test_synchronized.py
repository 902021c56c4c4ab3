"""Two gloo processes with synchronised whitening equal one process on the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from disentangle.nn.synchronized import pooled_moments, world_size
from disentangle.nn.whitening import DecorrelatedBatchNorm2d
from tests.processes import in_two_processes

STEPS, BATCH, CHANNELS = 3, 12, 6
# Shares of the batch: equal ones as DistributedDataParallel has them, and a process with a single sample.
SHARES = {"equal": (6, 6), "unequal": (11, 1)}


def batches() -> tuple[Tensor, Tensor]:
    """Correlated inputs with a large mean, and the gradients of their outputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, BATCH, CHANNELS, 2, 2, generator=generator, dtype=torch.float64)
    x[:, :, 1] += 0.8 * x[:, :, 0]
    x[:, ::2] += 2.0
    return x + 10.0, torch.randn(x.shape, generator=generator, dtype=torch.float64)


def run(options: dict[str, object], share: slice, **more: object) -> dict[str, Tensor]:
    """Outputs, input and parameter gradients (of the sum over the share), and what runs."""
    x, g = (part[:, share] for part in batches())
    layer = DecorrelatedBatchNorm2d(CHANNELS, dtype=torch.float64, **options, **more)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2.0, CHANNELS))
    found: dict[str, list[Tensor]] = {"y": [], "grad": []}
    for batch, cotangent in zip(x, g, strict=True):
        leaf = batch.clone().requires_grad_()
        y = layer(leaf)
        (y * cotangent).sum().backward()
        found["y"].append(y.detach())
        found["grad"].append(leaf.grad)
    result = {name: torch.stack(values) for name, values in found.items()}
    result |= {f"grad of {name}": parameter.grad for name, parameter in layer.named_parameters()}
    result |= {name: buffer.clone() for name, buffer in layer.named_buffers()}
    return result | {"covariance": layer.covariance, "eval": layer.eval()(batches()[0][0]).detach()}


def worker(rank: int, folder: str, options: dict[str, object], shares: tuple[int, int]) -> None:
    assert world_size() == 2
    share = slice(0, shares[0]) if rank == 0 else slice(shares[0], None)
    torch.save(run(options, share, synchronize=True), f"{folder}/{rank}.pt")
    if shares[0] == shares[1]:
        torch.save(run(options, share), f"{folder}/apart{rank}.pt")
        torch.save(network(share, nn.parallel.DistributedDataParallel), f"{folder}/network{rank}.pt")


def network(share: slice, wrap: object) -> list[Tensor]:
    """Weights after a few steps of a float32 network with the layer between two convolutions, on a mean loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner = nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 1),
            DecorrelatedBatchNorm2d(8, eps=1e-2, synchronize=True),
            nn.Tanh(),
            nn.Conv2d(8, 2, 2),
        )
    model = wrap(inner)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1, momentum=0.9)
    for batch in batches()[0]:
        optimizer.zero_grad()
        model(batch[share].float()).square().mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in inner.parameters()]


@pytest.mark.parametrize(
    ("shares", "options"),
    [
        ("equal", {"groups": 2}),
        pytest.param("unequal", {"whitening": "cholesky", "momentum": None}, marks=pytest.mark.slow),
        pytest.param("unequal", {"whitening": "pca", "running": "matrix"}, marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(tmp_path: Path, shares, options):
    in_two_processes(worker, tmp_path, str(tmp_path), options, SHARES[shares])
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = run(options, slice(None))
    for name, expected in alone.items():
        if name in ("y", "grad"):  # one part of the batch on each process
            ours = torch.cat([first[name], second[name]], dim=1)
        elif name.startswith("grad of"):  # DistributedDataParallel's part of the work
            ours = first[name] + second[name]
        else:
            assert torch.equal(first[name], second[name]), f"{name} is the same on every process"
            ours = first[name]
        assert ours.shape == expected.shape, name
        assert float((ours - expected).abs().max()) <= 1e-9 * max(1.0, float(expected.abs().max())), name
    if shares == "equal":
        apart = torch.load(tmp_path / "apart0.pt", weights_only=True)
        assert float((apart["y"] - first["y"]).abs().max()) > 0.1, (
            "without synchronize each process has its own statistics"
        )
        weights = [torch.load(tmp_path / f"network{rank}.pt", weights_only=True) for rank in range(2)]
        for a, b, c in zip(*weights, network(slice(None), nn.Sequential), strict=True):
            assert torch.equal(a, b)
            assert float((a - c).abs().max()) <= 1e-6


def pooled(rank: int, folder: str) -> None:
    x = (batches()[0][0, :5] if rank == 0 else batches()[0][0, 5:]).transpose(0, 1).reshape(1, CHANNELS, -1) + 1e6
    mean = x.mean(-1)
    own = (x - mean.unsqueeze(-1)) @ (x - mean.unsqueeze(-1)).mT / x.shape[-1]
    torch.save(pooled_moments(mean, own, x.shape[-1]), f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_a_large_mean_does_not_cancel(tmp_path: Path):
    in_two_processes(pooled, tmp_path, str(tmp_path))
    mean, second, count = torch.load(tmp_path / "0.pt", weights_only=True)
    x = batches()[0][0].transpose(0, 1).reshape(CHANNELS, -1)
    assert float(count) == x.shape[1]
    assert torch.allclose(mean[0] - 1e6, x.mean(1), atol=1e-8)
    assert torch.allclose(second[0], torch.cov(x, correction=0), atol=1e-8)


def test_one_process_needs_no_synchronisation():
    assert world_size() == 1
    alone, asked = run({}, slice(None)), run({}, slice(None), synchronize=True)
    assert all(torch.equal(alone[name], asked[name]) for name in alone)
