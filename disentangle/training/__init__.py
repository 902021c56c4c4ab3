"""Training loops one can read top to bottom."""

from disentangle.devices import resolve_device
from disentangle.training.autoencoder import train_autoencoder
from disentangle.training.autoencoder_config import AutoencoderTraining, FSQObjective, QLAEObjective, TripodObjective
from disentangle.training.classifier import train_classifier
from disentangle.training.config import (
    BetaTCVAEObjective,
    BetaVAEObjective,
    ClassifierTraining,
    DataConfig,
    DIPVAEObjective,
    FactorVAEObjective,
    OptimizerConfig,
    TrainingConfig,
    TreatmentConfig,
    VAETraining,
)
from disentangle.training.ema import EMA
from disentangle.training.gan import train_gan
from disentangle.training.gan_config import GANTraining, PathLengthConfig, PenaltyConfig
from disentangle.training.generator_penalty import GeneratorPenaltyConfig
from disentangle.training.presets import (
    PRESETS,
    classifier_config,
    finetune_config,
    preset_config,
    preset_names,
)
from disentangle.training.session import Interrupted, TrainingFailed, TrainingResult
from disentangle.training.vae import train_vae

__all__ = [
    "EMA",
    "PRESETS",
    "AutoencoderTraining",
    "BetaTCVAEObjective",
    "BetaVAEObjective",
    "ClassifierTraining",
    "DIPVAEObjective",
    "DataConfig",
    "FSQObjective",
    "FactorVAEObjective",
    "GANTraining",
    "GeneratorPenaltyConfig",
    "Interrupted",
    "OptimizerConfig",
    "PathLengthConfig",
    "PenaltyConfig",
    "QLAEObjective",
    "TrainingConfig",
    "TrainingFailed",
    "TrainingResult",
    "TreatmentConfig",
    "TripodObjective",
    "VAETraining",
    "classifier_config",
    "finetune_config",
    "preset_config",
    "preset_names",
    "resolve_device",
    "train_autoencoder",
    "train_classifier",
    "train_gan",
    "train_vae",
]


def __dir__() -> list[str]:
    return sorted(__all__)
