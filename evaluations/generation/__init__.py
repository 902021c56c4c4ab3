"""Metrics of generators: sets of features, logits, images, or a generator go in, a Score comes out."""

from disentangle.evaluations.generation.frechet import frechet_distance, frechet_infinity
from disentangle.evaluations.generation.inception_score import inception_score
from disentangle.evaluations.generation.kernel import kernel_distance
from disentangle.evaluations.generation.path_length import path_length
from disentangle.evaluations.generation.perturbation import perceptual_perturbation
from disentangle.evaluations.generation.precision_recall import precision_recall
from disentangle.evaluations.generation.statistics import FeatureStatistics

__all__ = [
    "FeatureStatistics",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_distance",
    "path_length",
    "perceptual_perturbation",
    "precision_recall",
]
