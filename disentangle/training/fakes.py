"""The pictures a generator makes while it is trained: latents, mixed styles and noise from the session's numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.training.session import Session

__all__ = ["Fakes"]


class Fakes:
    """Makes this process's share of a batch of pictures; each purpose of a step has latents of its own.

    The styles of a StyleGAN come from its mapping network, whose mean output is tracked, with a probability of mixing
    two latents at a random layer ("mixing regularization", Karras et al. 2019, 3.1); its noise is drawn anew.

    Args:
        session: the training.
        generator: the network.
        mixing: probability that a picture has the styles of two latents.
    """

    def __init__(self, session: Session, generator: Any, *, mixing: float = 0.0) -> None:
        self.session, self.generator, self.mixing = session, generator, mixing
        self.style_based = hasattr(generator, "mapping")
        self.options: dict[str, Any] = {}

    def __call__(self, purpose: str) -> Tensor:
        """(n, C, H, W) pictures."""
        if self.style_based:
            return self.of_styles(self.styles(purpose), purpose)
        return self.generator(self.session.latents(purpose, self.generator), **self.options)

    def styles(self, purpose: str) -> Tensor:
        """(n, rows, w_dim) styles of a StyleGAN, of one or two latents each."""
        session, mapping = self.session, self.generator.mapping
        w = mapping(session.latents(purpose, self.generator))
        mapping.track(session.mean(w.detach().mean(dim=0)))
        rows = self.generator.num_ws
        ws = w.unsqueeze(1).expand(-1, rows, -1)
        if not self.mixing:
            return ws.contiguous()
        other = mapping(session.latents(f"{purpose}, mixed", self.generator)).unsqueeze(1)
        chance, place = session.uniform(f"{purpose}, mixing", 2).unbind(1)
        first = torch.where(chance < self.mixing, 1 + (place * (rows - 1)).floor(), rows)
        kept = torch.arange(rows, device=w.device) < first[:, None]
        return torch.where(kept[:, :, None], ws, other)

    def of_styles(self, ws: Tensor, purpose: str) -> Tensor:
        """Pictures of styles, with fresh noise."""
        noise: dict[str, Any] = {}
        if hasattr(self.generator.config, "noise"):
            noise = {"noise": "random", "generator": self.session.random_each(f"{purpose}, noise")[: len(ws)]}
        return self.generator(ws, space="w+", **noise, **self.options)
