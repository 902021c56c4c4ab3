"""Features of a set of images, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.errors import InputError
from disentangle.evaluations.features.extractors import Extractor
from disentangle.evaluations.features.image_sets import ImageSet
from disentangle.evaluations.features.protocols import ImageProtocol
from disentangle.evaluations.features.weights import cache_folder
from disentangle.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["extract_features"]


def extract_features(
    images: ImageSet,
    extractor: Extractor,
    protocol: ImageProtocol,
    *,
    logits: bool = False,
    batch: int = 32,
    device: Any = "cpu",
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """``"features"`` (n, d) of every image and, if asked for, ``"logits"`` (n, classes), float32, in one pass.

    Under torch.distributed (``torchrun``, ``accelerate launch``) each process takes a part, and all get the whole.

    Args:
        images: any set; images of different sizes are brought to the network's one by one.
        extractor: the network.
        protocol: what happens to the images first.
        logits: whether they are needed too.
        batch: images at once.
        device: where the network runs.
        cache: keep the result on disk under a hash of the files' content, the protocol and the weights, and look there
            first; only where the set has a digest and the weights a hash.
        progress: called with (images done, images in all).

    Raises:
        InputError: if the network returns something else than a row of finite numbers an image.
    """
    path = _cache_path(images, extractor, protocol, logits) if cache else None
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            if progress is not None:
                progress(images.count, images.count)
            return {name: file[name] for name in file.files}
    parts: dict[str, list[np.ndarray]] = {"features": [], **({"logits": []} if logits else {})}
    done, (rank, world) = 0, _processes()
    begin, end = (images.count * part // world for part in (rank, rank + 1))
    for start in range(begin, end, batch):
        group = images.read(start, min(start + batch, end))
        inputs = _prepared(group, extractor, protocol).to(device)
        for name, found in _run(extractor, inputs, logits).items():
            array = found.float().cpu().numpy()
            if array.ndim != 2 or len(array) != len(group) or not np.all(np.isfinite(array)):
                raise InputError(
                    f"the extractor {extractor.name} returned {name} of shape {array.shape} for {len(group)} images; "
                    "expected a row of finite numbers for each."
                )
            parts[name].append(array)
        done += len(group)
        if progress is not None:
            progress(done * world, images.count)
    result = {name: np.concatenate(rows) for name, rows in _gathered(parts, world).items()}
    if path is not None and rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **result)  # type: ignore[arg-type]

        write_atomically(path, write)
    return result


def _processes() -> tuple[int, int]:
    """Rank and number of the processes that share the work: one unless torch.distributed was set up."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _gathered(parts: dict[str, list[np.ndarray]], world: int) -> dict[str, list[np.ndarray]]:
    """Every process's rows, in the order of the images."""
    if world == 1:
        return parts
    from torch import distributed

    everyone: list[Any] = [None] * world
    distributed.all_gather_object(everyone, parts)
    return {name: [rows for one in everyone for rows in one[name]] for name in parts}


def _prepared(group: list[Tensor], extractor: Extractor, protocol: ImageProtocol) -> Tensor:
    import torch

    def prepare(images: Tensor) -> Tensor:
        return protocol.prepare(images, extractor.size, centre=extractor.centre, spread=extractor.spread)

    if len({image.shape for image in group}) == 1:
        return prepare(torch.stack(group))
    return torch.cat([prepare(image[None]) for image in group])


def _run(extractor: Extractor, inputs: Tensor, logits: bool) -> dict[str, Tensor]:
    import torch

    with torch.inference_mode():
        found = {"features": extractor.features(inputs)}
        if logits:
            if extractor.logits is None:
                raise InputError(f"the extractor {extractor.name} has no classes, which the Inception score needs.")
            found["logits"] = extractor.logits(inputs)
    return found


def _cache_path(images: ImageSet, extractor: Extractor, protocol: ImageProtocol, logits: bool) -> Path | None:
    if not images.digest or not extractor.sha256:
        return None
    key = "\n".join([images.digest, str(images.count), extractor.name, extractor.sha256, protocol.name, str(logits)])
    return cache_folder().parent / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
