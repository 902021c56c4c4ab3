"""Networks that turn images into features, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from disentangle.evaluations.features.download import find_or_download
from disentangle.looking import looking_at, own_randomness
from disentangle.plugins import Registry
from disentangle.tensor_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EXTRACTORS", "Extractor", "ExtractorSource", "load_extractor", "register"]


@dataclass(frozen=True)
class Extractor:
    """A network and what a score must say about it.

    Attributes:
        name: in the scores' names; ``random-<architecture>`` for random weights, ``<architecture>-<hash>`` for a file
            that is not the published one.
        size: side of the images it takes.
        centre, spread: images are scaled as (x - centre) / spread from [0, 255].
        sha256: of the weight file, empty for random weights or a module of the user's.
        features: images (n, 3, size, size) to (n, d).
        logits: the same to (n, classes), where it has any.
        has_published_weights: whether the scores may bear the names FID, KID and so on.
    """

    name: str
    size: int
    features: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor] | None = None
    centre: float = 128.0
    spread: float = 128.0
    sha256: str = ""
    has_published_weights: bool = False
    network: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ExtractorSource:
    """A network that has a name, before it is made.

    Attributes:
        name: for :func:`load_extractor`.
        make: gives the network with random weights, and what makes an :class:`Extractor` of ``(network, name, sha256,
            published)``. The network has ``load_weights(tensors by name)`` unless ``weights_needed`` is False.
        weights_needed: whether it is only used with weights from a file, which the lists of known files name.
    """

    name: str
    make: Callable[[], tuple[Any, Callable[..., Extractor]]]
    weights_needed: bool = True


@own_randomness()
def load_extractor(
    name: str | Any = "inception", *, weights: str | os.PathLike[str] | None = None, allow_download: bool = False,
    random: bool = False, device: Any = "cpu", size: int = 224,
) -> Extractor:  # fmt: skip
    """A named extractor, or any ``torch.nn.Module`` from images (n, 3, size, size) in [-1, 1] to (n, d).

    Args:
        name: a key of :data:`EXTRACTORS`, or a module.
        weights: the file or a folder with it, or another file for that network; see
            :func:`~disentangle.evaluations.features.weights.identified_weights`.
        allow_download: fetch the file if it is nowhere and no ``weights`` are named.
        random: random weights in its place; the extractor is then called ``random-<name>``.
        device: where it runs.
        size: of the images of a module of yours.

    Raises:
        InputError: if there is no such extractor, or its weights are not found.
        CheckpointError: if the weights do not fit.
    """
    import torch

    if isinstance(name, torch.nn.Module):
        module = name.to(device)
        run = _in_evaluation_mode(module)
        return Extractor(type(module).__name__, size, run, centre=127.5, spread=127.5, network=module)
    source = EXTRACTORS.find(str(name))
    network, make = source.make()
    if random:
        return make(network.to(device).eval(), f"random-{name}", "", False)
    if not source.weights_needed and weights is None:
        return make(network.to(device).eval(), name, "", False)
    found = find_or_download(name, path=weights, allow_download=allow_download)
    network.load_weights(read_weights(found.path))
    return make(network.to(device).eval(), found.name(name), found.sha256, found.published)


def _in_evaluation_mode(module: Any) -> Callable[[Tensor], Tensor]:
    def features(images: Tensor) -> Tensor:
        with looking_at(module):
            found: Tensor = module(images)
            return found

    return features


def _inception() -> tuple[Any, Callable[..., Extractor]]:
    from disentangle.evaluations.features.inception import FIDInception

    def make(network: Any, name: str, sha256: str, published: bool) -> Extractor:
        return Extractor(
            name,
            network.size,
            lambda images: network(images, ("2048",))["2048"],
            lambda images: network(images, ("logits_unbiased",))["logits_unbiased"],
            sha256=sha256,
            has_published_weights=published,
            network=network,
        )

    return FIDInception(), make


def _efficientnet_lite() -> tuple[Any, Callable[..., Extractor]]:
    from disentangle.evaluations.features.efficientnet_lite import EfficientNetLite0

    def make(network: Any, name: str, sha256: str, published: bool) -> Extractor:
        return Extractor(
            name, network.size, network, network.logits, network.centre, network.spread, sha256, network=network
        )

    return EfficientNetLite0(), make


def _without_classes(network: Any, name: str, sha256: str, published: bool) -> Extractor:
    return Extractor(name, network.size, network, None, network.centre, network.spread, sha256, network=network)


def _vgg() -> tuple[Any, Callable[..., Extractor]]:
    from disentangle.evaluations.features.vgg import VGG16

    return VGG16(), _without_classes


def _dino() -> tuple[Any, Callable[..., Extractor]]:
    from disentangle.evaluations.features.dino import DINOv2

    return DINOv2(), _without_classes


EXTRACTORS = Registry(
    "extractor",
    ExtractorSource,
    lambda: (
        ExtractorSource("inception", _inception),
        ExtractorSource("efficientnet-lite0", _efficientnet_lite),
        ExtractorSource("vgg16", _vgg),
        ExtractorSource("dinov2-vitl14", _dino),
    ),
)


def register(source: ExtractorSource) -> ExtractorSource:
    """Add an extractor of your own to what :func:`load_extractor` and the command line know by name.

    Raises:
        InputError: its name is taken, or a part is missing.
    """
    return EXTRACTORS.register(source)
