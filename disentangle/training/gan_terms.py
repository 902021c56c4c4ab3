"""The terms that the two losses of a GAN consist of: for each step, name -> (value, weight)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.looking import own_randomness
from disentangle.models.discriminators import StridedDiscriminator, StridedDiscriminatorConfig
from disentangle.optim import variation_loss
from disentangle.training.adversarial import LOSSES, drift_penalty, gradient_penalty, path_lengths, r1_penalty
from disentangle.training.augmentation import Augmentation
from disentangle.training.fakes import Fakes
from disentangle.training.gan_config import GANTraining
from disentangle.training.generator_penalty import independence
from disentangle.training.optimizers import build_optimizer
from disentangle.training.session import Session, Stateful

__all__ = ["DiscriminatorTerms", "GeneratorTerms", "Pictures", "Terms"]

Terms = Mapping[str, tuple[Tensor, float]]
Pictures = tuple[Tensor, Tensor | None]  # (n, C, H, W), and their (n,) classes if there are any


class DiscriminatorTerms:
    """The adversarial loss, the penalty on the discriminator's gradient, the drift.

    Attributes:
        options: keywords of the discriminator's calls.
    """

    def __init__(self, session: Session, discriminator: nn.Module, augment: Augmentation) -> None:
        assert isinstance(session.config, GANTraining)
        self.session, self.config = session, session.config
        self.discriminator, self.augment = discriminator, augment
        self.options: dict[str, Any] = {}

    def logits(self, purpose: str, images: Tensor, classes: Tensor | None) -> Tensor:
        """(n,) of pictures, changed by the augmentation with the numbers of this purpose."""
        return self._score(self.augment(purpose, images), classes)

    def __call__(self, real: Pictures, fake: Pictures) -> Terms:
        config, session = self.config, self.session
        with session.accelerator.autocast():
            real_logits, fake_logits = self.logits("real", *real).float(), self.logits("fake", *fake).float()
        self.augment.saw(real_logits)
        terms = {"discriminator": (LOSSES[config.loss][0](real_logits, fake_logits), 1.0)}
        penalty = config.penalty
        if penalty.drift:
            terms["drift"] = (drift_penalty(real_logits), penalty.drift)
        if penalty.kind != "none" and (session.step - 1) % penalty.every == 0:
            weight = penalty.weight * (penalty.every if penalty.lazy else 1)
            terms["penalty"] = (self._penalty(real, fake), weight)
        return terms

    def _penalty(self, real: Pictures, fake: Pictures) -> Tensor:
        """In full precision."""
        (images, classes), augment = real, self.augment
        if self.config.penalty.kind == "r1":
            return r1_penalty(lambda x: self._score(x, classes), images, lambda x: augment("real", x))
        return gradient_penalty(lambda x: self._score(x, None), images, fake[0], self.session.uniform("between"))

    def _score(self, images: Tensor, classes: Tensor | None) -> Tensor:
        label = {} if classes is None else {"label": classes}
        logits: Tensor = self.discriminator(images, **label, **self.options)
        return logits


class GeneratorTerms:
    """The adversarial loss, the path length of a StyleGAN, a penalty for latents that depend on each other."""

    def __init__(self, session: Session, generator: Any, fakes: Fakes) -> None:
        assert isinstance(session.config, GANTraining)
        self.session, self.config, self.generator, self.fakes = session, session.config, generator, fakes
        self.mean_length = MeanLength(session.device)
        self.space = next(iter(generator.spaces.values()))
        self.predictor: nn.Module | None = None
        if self.config.generator_penalty.kind == "vp":
            self.predictor = self._make_predictor()
            self.optimizer = build_optimizer(self.config.discriminator_optimizer, self.predictor.parameters())

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint has to hold of the terms."""
        parts: dict[str, Stateful] = {"path_length": self.mean_length} if self.config.path_length.weight else {}
        if self.predictor is not None:
            parts |= {"predictor": self.predictor, "predictor_optimizer": self.optimizer}
        return parts

    def news(self) -> dict[str, float]:
        """Fields of a logged line."""
        return {"path_length": float(self.mean_length.value)} if self.config.path_length.weight else {}

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the terms' own networks."""
        return () if self.predictor is None else self.predictor.parameters()

    def step(self) -> None:
        """Move the terms' own networks."""
        if self.predictor is not None:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def __call__(self, logits: Tensor) -> Terms:
        """The terms of this step, of (n,) logits of generated pictures."""
        lengths, penalty, before = self.config.path_length, self.config.generator_penalty, self.session.step - 1
        terms = {"generator": (LOSSES[self.config.loss][1](logits), 1.0)}
        if lengths.weight and before % lengths.every == 0:
            terms["path_length_penalty"] = (self._path_length(), lengths.weight * lengths.every)
        if penalty.kind != "none" and before % penalty.every == 0:
            value = self._variation() if penalty.kind == "vp" else self._independence()
            terms[penalty.kind] = (value, penalty.scale * penalty.every)
        return terms

    def _path_length(self) -> Tensor:
        """``E (|J_w^T y| - a)^2`` with the running mean a."""
        some = self.session.every(self.config.path_length.shrink)
        ws = self.fakes.styles("path length")[some]
        if not ws.requires_grad:  # a mapping network that does not learn
            ws = ws.detach().requires_grad_()
        images = self.fakes.of_styles(ws, "path length", some)
        noise = self.session.normal("path length, image", *images.shape[1:])[some]
        lengths = path_lengths(images, ws, noise)
        mean = self.mean_length.update(self.session.mean(lengths.detach().mean()), self.config.path_length.decay)
        return (lengths - mean).square().mean()

    def _independence(self) -> Tensor:
        """A penalty on second or first derivatives along the coordinates that a traversal walks."""
        session = self.session
        latents = session.latents("penalty", self.generator)
        return independence(
            self.config.generator_penalty, self._picture, latents, self._walked(latents), batch=session.config.batch,
            shard=session.shard, stream=session.random,
        )  # fmt: skip

    def _variation(self) -> Tensor:
        """How well the predictor tells which coordinate was drawn anew."""
        assert self.predictor is not None
        latents = self.session.latents("variation", self.generator)
        other = self.session.latents("variation, other", self.generator)
        moved = (self.session.uniform("variation, which") * len(self.space.walk)).long()
        position = torch.tensor(self.space.walk, device=latents.device)[moved][:, None]
        varied = latents.scatter(1, position, other.gather(1, position))
        return variation_loss(self.predictor, self._picture(latents), self._picture(varied), moved)

    def _picture(self, latents: Tensor) -> Tensor:
        return self.generator(latents, **self.fakes.options)

    def _walked(self, latents: Tensor) -> Tensor:
        """1 for the coordinates that a traversal walks, else 0."""
        return torch.zeros(self.space.size).index_fill(0, torch.tensor(self.space.walk), 1.0).to(latents)

    def _make_predictor(self) -> nn.Module:
        model = self.config.model
        halvings = model.resolution.bit_length() - 3
        predictor = StridedDiscriminatorConfig(
            resolution=model.resolution,
            image_channels=model.image_channels,
            channels=tuple(min(32 << i, 256) for i in range(halvings)),
            outputs=len(self.space.walk),
        )
        with own_randomness(self.config.seed + 2):
            return self.session.place(StridedDiscriminator(predictor))


class MeanLength:
    """The running mean of path lengths; 0 before the first."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.zeros((), device=device)

    def update(self, length: Tensor, share: float) -> Tensor:
        """Move towards ``length`` and return the mean."""
        self.value = torch.lerp(self.value, length.to(self.value), share)
        return self.value

    def state_dict(self) -> dict[str, Tensor]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.value = state["value"].to(self.value.device)
