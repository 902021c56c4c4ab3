"""Perceptual distances of images: LPIPS by its package, and one on any network with stages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle.checks import check_image_range, read_array
from disentangle.errors import CheckpointError, InputError
from disentangle.evaluations.features.download import find_or_download
from disentangle.evaluations.features.preparation import prepared
from disentangle.evaluations.features.weights import LPIPS_HEADS, FoundWeights, load_strictly
from disentangle.files import sha256_of
from disentangle.looking import looks_at, own_randomness
from disentangle.tensor_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LPIPS", "StageDistance", "load_distance"]


class LPIPS:
    """Learned perceptual image patch similarity, version 0.1, by the package ``lpips``.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. The weights of
    its heads come with the package; the trunk's are the user's file.

    Args:
        trunk: weights of torchvision's VGG16 (``features.*`` are used).
        device: where it runs.
        weights: of which file the trunk is. Without one it is told by a hash of its numbers.

    Attributes:
        name: ``"lpips-vgg16"``, with a hash behind it where the trunk or the heads are not the published ones.
        has_published_weights: whether both are, by the hashes of their files: scores may then be called PPL and PIPL.
        sha256: of the trunk's file, or of its numbers.
    """

    def __init__(self, trunk: dict[str, Tensor], *, device: Any = "cpu", weights: FoundWeights | None = None) -> None:
        import contextlib
        import io
        import warnings

        import lpips

        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval().requires_grad_(False)
        own = self.network.net.state_dict()
        # the package numbers the trunk's layers as torchvision does, inside its slices
        missing = [name for name in (f"features.{key.split('.', 1)[1]}" for key in own) if name not in trunk]
        if missing:
            raise CheckpointError(f"The weights lack {missing[0]}; expected those of torchvision's VGG16.")
        values = {key: trunk[f"features.{key.split('.', 1)[1]}"] for key in own}
        load_strictly(self.network.net, values, "those of torchvision's VGG16")
        self.network = self.network.to(device)
        heads = sha256_of(Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth")
        self.sha256 = weights.sha256 if weights is not None else _hash_of_numbers(values)
        of_trunk, of_heads = weights is not None and weights.published, heads == LPIPS_HEADS["vgg"]
        self.has_published_weights = of_trunk and of_heads
        self.name = "lpips-vgg16" + ("" if of_trunk else f"-{self.sha256[:8]}") + ("" if of_heads else f"-{heads[:8]}")

    def __call__(self, one: Tensor, two: Tensor) -> Tensor:
        """(n,) squared distances of images (n, 3, H, W) in [-1, 1].

        Raises:
            InputError: if the images are grey, or lie outside [-1, 1] by more than rounding and a little overshoot.
        """
        _check(one, two)
        return self.network(one, two).flatten()

    def embed(self, images: Tensor) -> Tensor:
        """(n, m) whose squared differences are the distances."""
        import torch

        _check(images, images)
        network = self.network
        parts = []
        for stage, head in zip(network.net(network.scaling_layer(images)), network.lins, strict=True):
            unit = stage / (_length(stage) + 1e-10)
            weight = head.model[-1].weight.clamp(min=0).sqrt()
            parts.append((unit * weight / (stage.shape[2] * stage.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, dim=1)


def _length(stage: Tensor) -> Tensor:
    """Lengths over channels, (n, 1, h, w). Where all are zero the derivative is zero, and not 0/0: a place that every
    channel's ReLU silences stays silent."""
    import torch

    squares = stage.square().sum(1, keepdim=True)
    silent = squares == 0
    return torch.where(silent, 0.0, torch.where(silent, 1.0, squares).sqrt())


class StageDistance:
    """Squared differences of a network's feature maps, brought to unit length over channels, averaged over places.

    LPIPS without its learned weights (its authors' "baseline"), on any network with ``stages(images)``; the sum over
    stages. It is called by the network's name, never LPIPS.

    Args:
        network: has ``stages(images) -> list of (n, c, h, w)``, ``size``, ``centre``, ``spread`` and ``name``.
        device: where it runs.
        weights: of which file the network's are, for the name.
    """

    has_published_weights = False  # of LPIPS

    def __init__(self, network: Any, *, device: Any = "cpu", weights: FoundWeights | None = None) -> None:
        self.network = network.to(device)
        self.label = network.name if weights is None else weights.name(network.name)
        self.name = f"stages-{self.label}"
        self.sha256 = "" if weights is None else weights.sha256

    @looks_at("self")
    def __call__(self, one: Tensor, two: Tensor) -> Tensor:
        """(n,) squared distances of images (n, 3, H, W) in [-1, 1]."""
        _check(one, two)
        return (self.embed(one) - self.embed(two)).square().sum(1)

    @looks_at("self")
    def embed(self, images: Tensor) -> Tensor:
        """(n, m) whose squared differences are the distances."""
        import torch

        _check(images, images)
        parts = []
        for stage in self.network.stages(prepared(images, self.network).to(next(self.network.parameters()).dtype)):
            unit = stage / (stage.square().sum(1, keepdim=True) + 1e-12).sqrt()
            parts.append((unit / (stage.shape[2] * stage.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, dim=1)


@own_randomness()
def load_distance(
    name: str = "lpips", *, weights: str | os.PathLike[str] | None = None, allow_download: bool = False,
    device: Any = "cpu",
) -> LPIPS | StageDistance:  # fmt: skip
    """``"lpips"`` (VGG16's weights are needed) or ``"efficientnet-lite0"`` (those of the extra ``offline``).

    Raises:
        InputError: if there is no such distance, or the weights are not found.
    """
    if name not in ("lpips", "efficientnet-lite0"):
        raise InputError(f"distance is {name!r}; expected 'lpips' or 'efficientnet-lite0'.")
    found = find_or_download("vgg16" if name == "lpips" else name, path=weights, allow_download=allow_download)
    values = read_weights(found.path)
    if name == "lpips":
        return LPIPS(values, device=device, weights=found)
    from disentangle.evaluations.features.efficientnet_lite import EfficientNetLite0

    return StageDistance(EfficientNetLite0().load_weights(values), device=device, weights=found)


def _hash_of_numbers(values: dict[str, Tensor]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(name.encode())
        digest.update(read_array(values[name], f"the weights {name}").tobytes())
    return digest.hexdigest()


def _check(one: Tensor, two: Tensor) -> None:
    from disentangle.linalg.differentiable import are_values_visible

    for images in (one, two):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"images have shape {tuple(images.shape)} and dtype {images.dtype}; expected (n, 3, H, W) floating "
                "point (repeat a grey channel three times)."
            )
        if not are_values_visible(images):  # inside a transformation of torch.func
            continue
        check_image_range(images)
    if one.shape != two.shape:
        raise InputError(f"images have shapes {tuple(one.shape)} and {tuple(two.shape)}; expected equal ones.")
