"""Features of a set of images, computed once and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.array_files import ArrayFile
from disentangle.checks import read_array
from disentangle.errors import InputError, OutputError
from disentangle.evaluations.features.extractors import Extractor
from disentangle.evaluations.features.image_sets import ImageSet
from disentangle.evaluations.features.protocols import ImageProtocol
from disentangle.evaluations.features.weights import cache_folder
from disentangle.files import write_atomically
from disentangle.looking import looks_at

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["extract_features"]

_AT_ONCE = 1 << 23  # numbers of pictures that wait to be resized together
_log = logging.getLogger(__name__)


@looks_at("extractor")
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
    kept = None if path is None else _kept(path, images.count, logits)
    if kept is not None:
        if progress is not None:
            progress(images.count, images.count)
        return kept
    parts: dict[str, list[np.ndarray]] = {"features": [], **({"logits": []} if logits else {})}
    done, (rank, world) = 0, _processes()
    begin, end = (images.count * part // world for part in (rank, rank + 1))
    for start in range(begin, end, batch):
        count = min(start + batch, end) - start
        inputs = _inputs(images, start, start + count, extractor, protocol).to(device)
        for name, found in _run(extractor, inputs, logits).items():
            what = f"{name} of the extractor {extractor.name}"
            array = read_array(found, what, finite=False).astype(np.float32, copy=False)
            if array.ndim != 2 or len(array) != count or not np.all(np.isfinite(array)):
                raise InputError(
                    f"the extractor {extractor.name} returned {name} of shape {array.shape} for {count} images; "
                    "expected a row of finite numbers for each."
                )
            parts[name].append(array)
        done += count
        if progress is not None:
            progress(done * world, images.count)
    result = {name: np.concatenate(rows) for name, rows in _gathered(parts, world).items()}
    if path is not None and rank == 0:
        _keep(path, result)
    return result


def _kept(path: Path, count: int, logits: bool) -> dict[str, np.ndarray] | None:
    """What the cache holds; None where it holds nothing, or a damaged file, which is then written anew."""
    if not path.is_file():
        return None
    try:
        with ArrayFile(path, what="features in the cache") as file:
            found = {name: file.read(name) for name in (("features", "logits") if logits else ("features",))}
    except InputError as error:
        _log.warning("%s Computing the features again.", error)
        return None
    whole = all(rows.ndim == 2 and len(rows) == count and np.isfinite(rows).all() for rows in found.values())
    return found if whole else None


def _keep(path: Path, result: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **result)  # type: ignore[arg-type]

    try:
        write_atomically(path, write)
    except OutputError as error:  # the features are there all the same
        _log.warning("The features are not kept for the next time: %s", error)


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


def _inputs(images: ImageSet, start: int, end: int, extractor: Extractor, protocol: ImageProtocol) -> Tensor:
    """The network's input of some images; files one after the other, since a few large photos fill the memory."""
    import torch

    if not images.fit:
        return _prepared(images.read(start, end), extractor, protocol)
    ready, group = [], []
    for position in range(start, end):
        group += images.read(position, position + 1)
        if sum(image.numel() for image in group) > _AT_ONCE or position + 1 == end:
            ready.append(_prepared(group, extractor, protocol))
            group = []
    return torch.cat(ready)


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
    scale = protocol.scale(extractor.centre, extractor.spread)
    key = "\n".join(
        [images.digest, str(images.count), extractor.name, extractor.sha256, protocol.name, str(scale), str(logits)]
    )
    return cache_folder().parent / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
