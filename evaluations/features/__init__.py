"""What turns images into numbers to compare: extractors and their weights, protocols, perceptual distances."""

from disentangle.evaluations.features.extraction import extract_features
from disentangle.evaluations.features.extractors import EXTRACTORS, Extractor, ExtractorSource, load_extractor, register
from disentangle.evaluations.features.image_sets import (
    ImageSet,
    array_images,
    data_images,
    file_images,
    generated_images,
    unlike_compression,
)
from disentangle.evaluations.features.perceptual import load_distance
from disentangle.evaluations.features.protocols import PROTOCOLS, ImageProtocol, to_uint8
from disentangle.evaluations.features.weights import find_weights

__all__ = [
    "EXTRACTORS",
    "PROTOCOLS",
    "Extractor",
    "ExtractorSource",
    "ImageProtocol",
    "ImageSet",
    "array_images",
    "data_images",
    "extract_features",
    "file_images",
    "find_weights",
    "generated_images",
    "load_distance",
    "load_extractor",
    "register",
    "to_uint8",
    "unlike_compression",
]


def __dir__() -> list[str]:
    return sorted(__all__)
