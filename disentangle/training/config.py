"""What a training is: one configuration object, written to ``config.json`` before the first step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from disentangle.config import Config
from disentangle.models.classifier import ClassifierConfig
from disentangle.models.vae import VAEConfig
from disentangle.optim.registry import MODES
from disentangle.training.generator_penalty import GeneratorPenaltyConfig
from disentangle.training.schedules import ConstantSchedule, OneCycleSchedule, ScheduleConfig

__all__ = [
    "BetaTCVAEObjective",
    "BetaVAEObjective",
    "ClassifierTraining",
    "DIPVAEObjective",
    "DataConfig",
    "FactorVAEObjective",
    "ObjectiveConfig",
    "OptimizerConfig",
    "TrainingConfig",
    "TreatmentConfig",
    "VAETraining",
]


class DataConfig(Config):
    """Which pictures: arguments of :func:`disentangle.data.open_data`."""

    name: str
    resolution: int | None = None
    data_dir: str | None = None
    download: bool = False
    options: dict[str, Any] = pydantic.Field(default_factory=dict)


class OptimizerConfig(Config):
    """A torch optimizer and its settings."""

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = pydantic.Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = pydantic.Field(0.0, ge=0, lt=1, description="sgd only")
    weight_decay: float = pydantic.Field(0.0, ge=0)


class TreatmentConfig(Config):
    """Treatment of the model's projections: arguments of :func:`disentangle.orthogonalize`."""

    nog: bool = False
    olr: bool = False
    mode: str = pydantic.Field("gradient", description="a name of disentangle.optim.MODES")
    olr_form: Literal["released", "matrix", "exact"] = "matrix"
    ol: float = pydantic.Field(0.0, ge=0)
    scale: Literal["none", "grad_norm", "nuclear"] = "none"
    retraction: Literal["none", "polar"] = "none"
    attraction: float | Literal["quartic"] | None = pydantic.Field(None, description="landing and pogo only")
    radius: float = pydantic.Field(1.0, gt=0, description="scion only")
    options: dict[str, Any] = pydantic.Field(default_factory=dict, description="those of a mode of your own, by name")

    @pydantic.field_validator("mode")
    @classmethod
    def _exists(cls, mode: str) -> str:
        return MODES.find(mode).name

    @property
    def active(self) -> bool:
        alone = MODES.find(self.mode).alone
        return bool(self.nog or self.olr or self.ol or alone or self.retraction != "none")


class BetaVAEObjective(Config):
    """beta-VAE (Higgins et al. 2017); with ``capacity``, the controlled capacity of Burgess et al. (2018).

    ``reconstruction + beta * KL``, or ``reconstruction + beta * |KL - C|`` with C growing linearly from 0 to
    ``capacity`` nats over ``capacity_steps``.
    """

    kind: Literal["beta-vae"] = "beta-vae"
    beta: float = pydantic.Field(4.0, ge=0)
    capacity: float | None = pydantic.Field(None, ge=0)
    capacity_steps: int = pydantic.Field(100_000, ge=1)


class BetaTCVAEObjective(Config):
    """beta-TCVAE (Chen et al. 2018): ``reconstruction + alpha MI + beta TC + gamma dimension-wise KL``."""

    kind: Literal["beta-tcvae"] = "beta-tcvae"
    beta: float = pydantic.Field(6.0, ge=0)
    alpha: float = pydantic.Field(1.0, ge=0)
    gamma: float = pydantic.Field(1.0, ge=0)


class FactorVAEObjective(Config):
    """FactorVAE (Kim and Mnih 2018): ``reconstruction + KL + gamma TC``, TC from a discriminator on the codes."""

    kind: Literal["factor-vae"] = "factor-vae"
    gamma: float = pydantic.Field(10.0, ge=0)
    discriminator_width: int = pydantic.Field(1000, ge=1)
    discriminator_lr: float = pydantic.Field(1e-4, gt=0)


class DIPVAEObjective(Config):
    """DIP-VAE I and II (Kumar et al. 2018): KL plus penalties on the covariance of the codes."""

    kind: Literal["dip-vae"] = "dip-vae"
    variant: Literal["i", "ii"] = "i"
    off_diagonal: float = pydantic.Field(10.0, ge=0)
    diagonal: float = pydantic.Field(100.0, ge=0)


ObjectiveConfig = Annotated[
    BetaVAEObjective | BetaTCVAEObjective | FactorVAEObjective | DIPVAEObjective, pydantic.Field(discriminator="kind")
]


# What decides where files lie, what is written and how often, but no weight; and what to do about damaged pictures,
# which the message that names one says to change.
_MAY_DIFFER = (
    "checkpoint_every",
    "data.data_dir",
    "data.download",
    "data.options.cache_bytes",
    "data.options.on_bad_image",
    "keep_checkpoints",
    "log_every",
    "sample_every",
    "tracker",
)


class TrainingConfig(Config):
    """What all trainings share. When a run is continued only the fields in ``may_differ`` may differ."""

    schema_version: Literal[1] = 1
    data: DataConfig
    treatment: TreatmentConfig = TreatmentConfig()
    batch: int = pydantic.Field(ge=1, description="over all processes")
    steps: int = pydantic.Field(ge=1)
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    log_every: int = pydantic.Field(50, ge=1)
    sample_every: int = pydantic.Field(500, ge=1)
    checkpoint_every: int = pydantic.Field(500, ge=1)
    keep_checkpoints: int = pydantic.Field(2, ge=1)
    tracker: Literal["none", "tensorboard", "wandb"] = "none"

    @property
    def may_differ(self) -> tuple[str, ...]:
        """Fields that may differ when a run is continued."""
        return ("steps", *_MAY_DIFFER)

    @property
    def supervision(self) -> str | None:
        """What the training is told of the factors, for the model's file and card; None if nothing."""
        return None


_SUPERVISION = {
    "known": "weak: pairs of pictures that differ in one factor, and which factor that was",
    "adaptive": "weak: pairs of pictures that differ in one factor, not which",
}


class VAETraining(TrainingConfig):
    """Training of a VAE, see :func:`disentangle.training.train_vae`.

    ``pairs``: weak supervision. A batch consists of pairs of pictures that differ in one factor; the posteriors of the
    latents that did not change are averaged. ``"known"``: the training is told which factor changed, and latent j is
    that of factor j (further latents never change); ``"adaptive"``: it is not (Ada-GVAE).
    """

    kind: Literal["vae"] = "vae"
    model: VAEConfig
    objective: ObjectiveConfig = BetaTCVAEObjective()
    reconstruction: Literal["bernoulli", "gaussian", "gaussian-learned"] = "bernoulli"
    pairs: Literal["none", "known", "adaptive"] = "none"
    generator_penalty: GeneratorPenaltyConfig = GeneratorPenaltyConfig()
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4)
    init: str | None = pydantic.Field(None, description="model file, run folder or zoo name to train further")

    @pydantic.model_validator(mode="after")
    def _penalty_of_decoders(self) -> VAETraining:
        if self.generator_penalty.kind == "vp":
            raise ValueError("generator_penalty 'vp' is for GANs; give a VAE one of the others, such as 'orojar'")
        if self.generator_penalty.kind != "none" and self.generator_penalty.weight is None:
            raise ValueError("generator_penalty of a VAE needs a weight; give generator_penalty.weight")
        return self

    @pydantic.model_validator(mode="after")
    def _pairs_of_a_beta_vae(self) -> VAETraining:
        if self.pairs != "none" and not isinstance(self.objective, BetaVAEObjective):
            raise ValueError(f"pairs is for the objective 'beta-vae', not {self.objective.kind!r}; choose that one")
        if self.pairs != "none" and self.batch % 2:
            raise ValueError(f"batch is {self.batch}, which holds no whole number of pairs; give an even one")
        return self

    @property
    def supervision(self) -> str | None:
        return None if self.pairs == "none" else _SUPERVISION[self.pairs]


class ClassifierTraining(TrainingConfig):
    """Training of a classifier, see :func:`disentangle.training.train_classifier`.

    Attributes:
        sample_every: steps between two looks at the validation part; the last step has one too.
        head_lr: times the learning rate, for the head (fine-tuning).
        validation: pictures of the training part that are kept apart and never learnt from; 0 for none, or, of a folder
            with ``val/``, for that part.
        crop_padding: black pixels around a picture, from which the old size is cut out at random; 0 for no crops.
        init: file of weights of the plain network to start from, such as torchvision's or timm's of the same
            architecture.

    Every schedule but the constant one is stretched over ``steps``, so only a constant one may grow.
    """

    kind: Literal["classifier"] = "classifier"
    model: ClassifierConfig
    optimizer: OptimizerConfig = OptimizerConfig(kind="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule: ScheduleConfig = OneCycleSchedule()
    head_lr: float = pydantic.Field(1.0, gt=0)
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    clip_norm: float | None = pydantic.Field(None, gt=0, description="largest norm of all gradients together")
    validation: int = pydantic.Field(0, ge=0)
    crop_padding: int = pydantic.Field(0, ge=0)
    flip: bool = pydantic.Field(False, description="random horizontal flips")
    init: str | None = None

    @pydantic.model_validator(mode="after")
    def _treats_something(self) -> ClassifierTraining:
        if self.model.baked:
            raise ValueError("model.baked is for a network that is trained already; leave it out")
        if self.treatment.active and self.model.norm == "bn" and self.model.pool == "avg":
            raise ValueError(
                "the treatment is for the layer in front of an SVD meta-layer, but there is none; give "
                "model.norm='dbn' (--norm dbn) or model.pool='cov' (--pool cov)"
            )
        return self

    @property
    def may_differ(self) -> tuple[str, ...]:
        return ("steps", *_MAY_DIFFER) if isinstance(self.schedule, ConstantSchedule) else _MAY_DIFFER
