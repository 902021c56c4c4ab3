"""The samples of trainings that reconstruct."""

from __future__ import annotations

from typing import Any

import torch

from disentangle.data import ImageSource
from disentangle.training.session import Session
from disentangle.viz import save_grid

__all__ = ["write_reconstructions"]


@torch.no_grad()
def write_reconstructions(session: Session, model: Any, source: ImageSource, *, drawn: str, count: int = 10) -> None:
    """Pictures, their reconstructions, and pictures of latents that are drawn; ``drawn`` names that row."""
    indices = torch.randint(len(source), (count,), generator=session.random("sample", 0))
    images = source.images(indices).to(session.device)
    latents = model.sample_latents(count, generator=session.random("sample", 1))
    rows = torch.stack([2 * images - 1, model(model.encode(images)), model(latents)])
    place = session.run.path / "samples" / f"{session.step:06d}.png"
    save_grid(rows, place, row_labels=("data", "reconstruction", drawn))
