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
        labels: (N,) classes of the real pictures, from which those of the made ones are drawn; None without classes.
    """

    def __init__(self, session: Session, generator: Any, *, mixing: float = 0.0, labels: Tensor | None = None) -> None:
        self.session, self.generator, self.mixing, self.labels = session, generator, mixing, labels
        self.style_based = hasattr(generator, "mapping")
        self.options: dict[str, Any] = {}

    def __call__(self, purpose: str) -> Tensor:
        """(n, C, H, W) pictures."""
        if self.style_based:
            return self.of_styles(self.styles(purpose), purpose)
        return self.generator(self.session.latents(purpose, self.generator), **self.options)

    def classes(self, purpose: str) -> Tensor | None:
        """(n,) classes of the pictures of this purpose, None without classes."""
        return None if self.labels is None else self.session.classes(purpose, self.labels)

    def styles(self, purpose: str) -> Tensor:
        """(n, rows, w_dim) styles of a StyleGAN, of one or two latents each."""
        session, mapping, classes = self.session, self.generator.mapping, self.classes(purpose)
        w = mapping(session.latents(purpose, self.generator), classes)
        mapping.track(session.mean(w.detach().mean(dim=0)))
        rows = self.generator.num_ws
        ws = w.unsqueeze(1).expand(-1, rows, -1)
        if not self.mixing:
            return ws.contiguous()
        other = mapping(session.latents(f"{purpose}, mixed", self.generator), classes).unsqueeze(1)
        chance, place = session.uniform(f"{purpose}, mixing", 2).unbind(1)
        first = torch.where(chance < self.mixing, 1 + (place * (rows - 1)).floor(), rows)
        kept = torch.arange(rows, device=w.device) < first[:, None]
        return torch.where(kept[:, :, None], ws, other)

    def of_styles(self, ws: Tensor, purpose: str, of: slice = slice(None)) -> Tensor:
        """Pictures of styles, with fresh noise; ``of`` says which of the purpose's pictures the styles are."""
        noise: dict[str, Any] = {}
        if hasattr(self.generator.config, "noise"):
            noise = {"noise": "random", "generator": self.session.random_each(f"{purpose}, noise")[of]}
        return self.generator(ws, space="w+", **noise, **self.options)
