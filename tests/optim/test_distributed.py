"""Two gloo processes with NOG and OLR take the step of one process on the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import disentangle
from tests.processes import in_two_processes

STEPS, BATCH = 5, 8


def make() -> tuple[nn.Module, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 12, bias=False), nn.Tanh(), nn.Linear(12, 3))
    return model, torch.randn(STEPS, BATCH, 5, generator=generator)


def train(model: nn.Module, inner: nn.Module, batches: torch.Tensor, options: dict[str, object]) -> torch.Tensor:
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1, momentum=0.9)
    disentangle.orthogonalize(optimizer, inner[0].weight, **options)
    for batch in batches:
        optimizer.zero_grad()
        model(batch).square().sum(1).mean().backward()
        optimizer.step()
    return inner[0].weight.detach().clone()


def worker(rank: int, folder: str, options: dict[str, object]) -> None:
    inner, batches = make()
    model = nn.parallel.DistributedDataParallel(inner)
    weight = train(model, inner, batches[:, rank::2], options)
    torch.save(weight, f"{folder}/{rank}.pt")


@pytest.mark.parametrize(
    "options",
    [{"nog": True, "olr": True}, {"nog": True, "mode": "update", "retraction": "polar"}],
    ids=["gradient", "update"],
)
def test_two_processes_equal_one(tmp_path: Path, options: dict[str, object]):
    in_two_processes(worker, tmp_path, str(tmp_path), options)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    inner, batches = make()
    alone = train(inner, inner, batches, options)
    assert torch.equal(first, second)
    assert float((first - alone).abs().max()) <= 1e-6
