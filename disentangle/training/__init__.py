"""Training loops one can read top to bottom."""

from disentangle.training.config import (
    BetaTCVAEObjective,
    BetaVAEObjective,
    DataConfig,
    DIPVAEObjective,
    FactorVAEObjective,
    GANTraining,
    OptimizerConfig,
    PenaltyConfig,
    TrainingConfig,
    TreatmentConfig,
    VAETraining,
)
from disentangle.training.ema import EMA
from disentangle.training.gan import train_gan
from disentangle.training.presets import PRESETS, preset_config, preset_names
from disentangle.training.session import Interrupted, TrainingFailed, TrainingResult, resolve_device
from disentangle.training.vae import train_vae

__all__ = [
    "EMA",
    "PRESETS",
    "BetaTCVAEObjective",
    "BetaVAEObjective",
    "DIPVAEObjective",
    "DataConfig",
    "FactorVAEObjective",
    "GANTraining",
    "Interrupted",
    "OptimizerConfig",
    "PenaltyConfig",
    "TrainingConfig",
    "TrainingFailed",
    "TrainingResult",
    "TreatmentConfig",
    "VAETraining",
    "preset_config",
    "preset_names",
    "resolve_device",
    "train_gan",
    "train_vae",
]
