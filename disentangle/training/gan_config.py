"""What the training of a GAN is: networks, losses, penalties, and how they are weighed."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from disentangle.config import Config
from disentangle.models.dcgan import DCGANConfig
from disentangle.models.discriminators import DiscriminatorConfig
from disentangle.models.eigengan import EigenGANConfig
from disentangle.models.gan import SimpleGANConfig
from disentangle.models.progan import ProGANConfig
from disentangle.models.stylegan1 import StyleGAN1Config
from disentangle.models.stylegan2 import StyleGAN2Config
from disentangle.models.stylegan3 import StyleGAN3Config
from disentangle.training.config import OptimizerConfig, TrainingConfig
from disentangle.training.generator_penalty import GeneratorPenaltyConfig
from disentangle.training.growing import GrowthConfig

__all__ = ["GANTraining", "PathLengthConfig", "PenaltyConfig"]


class PenaltyConfig(Config):
    """A gradient penalty on the discriminator.

    ``r1``: ``weight * E|grad D(real)|^2`` (Mescheder et al. 2018, without the factor 1/2). ``wgan-gp``:
    ``weight * E(|grad D(between)| - 1)^2`` on random points between real and fake (Gulrajani et al. 2017). Computed
    every ``every`` steps and, if ``lazy``, multiplied by that number. ``drift`` weighs ``E D(real)^2``, in every step
    (Karras et al. 2018, A.1).
    """

    kind: Literal["none", "r1", "wgan-gp"] = "none"
    weight: float = pydantic.Field(1.0, ge=0)
    every: int = pydantic.Field(1, ge=1)
    lazy: bool = True
    drift: float = pydantic.Field(0.0, ge=0)


class PathLengthConfig(Config):
    """Path length regularisation (Karras et al. 2020, equation 4), every ``every`` steps, multiplied by that number.

    ``decay`` is the share of a new length in the running mean; only every ``shrink``-th picture is looked at.
    """

    weight: float = pydantic.Field(0.0, ge=0)
    every: int = pydantic.Field(4, ge=1)
    decay: float = pydantic.Field(0.01, gt=0, le=1)
    shrink: int = pydantic.Field(2, ge=1)


GeneratorConfig = Annotated[
    EigenGANConfig | SimpleGANConfig | DCGANConfig | ProGANConfig | StyleGAN1Config | StyleGAN2Config | StyleGAN3Config,
    pydantic.Field(discriminator="kind"),
]
STYLE_BASED = ("stylegan1", "stylegan2", "stylegan3")


class GANTraining(TrainingConfig):
    """Training of a generator against a discriminator, see :func:`disentangle.training.train_gan`.

    Attributes:
        ema: decay of the averaged generator.
        accumulate: pieces a process divides its part of a batch into, one after the other, to need less memory.
        style_mixing: probability of a picture of two mixed latents, for the StyleGANs.
        growth: progressive growing, for ProGAN.
        augment: changes of real and fake pictures; ``augment_target`` makes their probability adaptive.
        init: a model file, run folder or zoo name to start from; a run folder's discriminator is taken if it fits.
        discriminator_init: a discriminator file to start from, of a generator that comes from elsewhere.
        trains: "projections" leaves everything of the generator but its projections as it is.
        importance_lr: times the generator's learning rate, for the importances of an EigenGAN's directions, which begin
            far from each other (3, 6, 9 ...) and hardly move at the rate of weights.
        discriminator_first: steps in which only the discriminator learns, where it is new and the generator is not.
    """

    kind: Literal["gan"] = "gan"
    model: GeneratorConfig
    discriminator: DiscriminatorConfig
    loss: Literal["hinge", "hinge-clipped", "non-saturating", "wgan"] = "non-saturating"
    penalty: PenaltyConfig = PenaltyConfig()
    generator_penalty: GeneratorPenaltyConfig = GeneratorPenaltyConfig()
    path_length: PathLengthConfig = PathLengthConfig()
    style_mixing: float = pydantic.Field(0.0, ge=0, le=1)
    growth: GrowthConfig | None = None
    optimizer: OptimizerConfig
    discriminator_optimizer: OptimizerConfig
    importance_lr: float = pydantic.Field(1.0, gt=0)
    accumulate: int = pydantic.Field(1, ge=1)
    ema: float = pydantic.Field(0.998, ge=0, lt=1)
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    augment_probability: float = pydantic.Field(1.0, ge=0, le=1)
    augment_target: float | None = pydantic.Field(
        None, gt=0, lt=1, description="share of real pictures taken for real that adaptive augmentation holds"
    )
    reuse_fakes: bool = pydantic.Field(
        False, description="train the generator on the very pictures the discriminator just saw: a fifth less work"
    )
    flip: bool = pydantic.Field(False, description="random horizontal flips of the real images")
    init: str | None = None
    discriminator_init: str | None = None
    trains: Literal["all", "projections"] = "all"
    discriminator_first: int = pydantic.Field(0, ge=0)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> GANTraining:
        sizes = {
            name: (network.resolution, network.image_channels)
            for name, network in (("model", self.model), ("discriminator", self.discriminator))
        }
        if sizes["model"] != sizes["discriminator"]:
            raise ValueError(
                f"the model makes pictures of {_picture(*sizes['model'])}, but the discriminator looks at "
                f"{_picture(*sizes['discriminator'])}; give both the same resolution and image_channels"
            )
        style_based = self.model.kind in STYLE_BASED
        if (self.style_mixing or self.path_length.weight) and not style_based:
            raise ValueError(
                f"style_mixing and path_length are for StyleGANs, not for {self.model.kind!r}; leave them out"
            )
        if self.growth is not None and (self.model.kind, self.discriminator.kind) != ("progan", "progan"):
            raise ValueError(
                "growth is for a ProGAN and its own discriminator; leave it out, or give both kinds 'progan'"
            )
        classes, seen = (getattr(network, "c_dim", 0) for network in (self.model, self.discriminator))
        if classes != seen:
            raise ValueError(
                f"the model has {classes} classes and the discriminator {seen}; give both the same c_dim (of the "
                "discriminators that of StyleGAN2 takes classes)"
            )
        if classes and ("wgan-gp" in self.penalty.kind or self.generator_penalty.kind != "none"):
            raise ValueError(
                "a gradient penalty between pictures and generator_penalty are for generators without classes; give "
                "penalty.kind='r1' and no generator_penalty"
            )
        if self.importance_lr != 1 and (self.model.kind != "eigengan" or self.trains != "all"):
            raise ValueError(
                "importance_lr is for an EigenGAN of which everything learns; leave it out, or give model.kind="
                "'eigengan' and trains='all'"
            )
        if self.accumulate > 1 and self.reuse_fakes:
            raise ValueError("accumulate saves the memory that reuse_fakes spends; give reuse_fakes=false with it")
        if self.discriminator_first and self.init is None:
            raise ValueError(
                "discriminator_first is for a generator that is trained already; give init (--from) with it"
            )
        return self


def _picture(resolution: int, channels: int) -> str:
    return f"{resolution}x{resolution} pixels and {channels} channels"
