"""Metrics of generators: sets of features, logits, images, or a generator go in, a Score comes out."""

from disentangle.evaluations.generation.factor_predictor import (
    FactorPredictor,
    factor_predictor_mig,
    train_factor_predictor,
)
from disentangle.evaluations.generation.frechet import frechet_distance, frechet_infinity
from disentangle.evaluations.generation.inception_score import inception_score
from disentangle.evaluations.generation.jacobian import activeness, ima_contrast, jacobian_orthogonality
from disentangle.evaluations.generation.kernel import kernel_distance
from disentangle.evaluations.generation.path_length import path_length
from disentangle.evaluations.generation.perturbation import perceptual_perturbation
from disentangle.evaluations.generation.precision_recall import precision_recall
from disentangle.evaluations.generation.statistics import FeatureStatistics
from disentangle.evaluations.generation.variation import make_pairs, variation_predictability

__all__ = [
    "FactorPredictor",
    "FeatureStatistics",
    "activeness",
    "factor_predictor_mig",
    "frechet_distance",
    "frechet_infinity",
    "ima_contrast",
    "inception_score",
    "jacobian_orthogonality",
    "kernel_distance",
    "make_pairs",
    "path_length",
    "perceptual_perturbation",
    "precision_recall",
    "train_factor_predictor",
    "variation_predictability",
]


def __dir__() -> list[str]:
    return sorted(__all__)
