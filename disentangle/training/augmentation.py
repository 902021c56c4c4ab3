"""The augmentation of a training: DiffAugment with the session's numbers, its probability fixed or adaptive."""

from __future__ import annotations

from torch import Tensor

from disentangle.training.adaptive import AdaptiveProbability
from disentangle.training.augment import DiffAugment
from disentangle.training.gan_config import GANTraining
from disentangle.training.session import Session, Stateful

__all__ = ["Augmentation"]


class Augmentation:
    """``augmentation(purpose, images)`` changes pictures with random numbers of this step and purpose."""

    def __init__(self, session: Session) -> None:
        config = session.config
        assert isinstance(config, GANTraining)
        self.session = session
        self.adaptive: AdaptiveProbability | None = None
        if config.augment and config.augment_target is not None:
            # published: it starts without any change
            self.adaptive = AdaptiveProbability(
                config.augment_probability, target=config.augment_target, batch=config.batch
            )
        self.change = DiffAugment(config.augment, config.augment_probability, per_image=self.adaptive is not None)

    def __call__(self, purpose: str, images: Tensor) -> Tensor:
        if self.adaptive is not None:
            self.change.probability = self.adaptive.value
        session = self.session
        return self.change(images, session.random(f"augment {purpose}"), session.shard, session.config.batch)

    def saw(self, real_logits: Tensor) -> None:
        """Show the discriminator's logits of real pictures to the adaptive probability."""
        if self.adaptive is not None:
            self.adaptive.saw(real_logits)

    def adapt(self) -> None:
        """End a step."""
        if self.adaptive is not None:
            self.adaptive.adapt(self.session.mean)

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint has to hold of it."""
        return {} if self.adaptive is None else {"augmentation": self.adaptive}

    def news(self) -> dict[str, float]:
        """Fields of a logged line."""
        return {} if self.adaptive is None else {"augment_probability": self.adaptive.value}
