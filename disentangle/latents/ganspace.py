"""GANSpace: principal directions of a generator's own latents or activations.

Source: Härkönen, Hertzmann, Lehtinen, Paris, "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disentangle.errors import CheckpointError, InputError
from disentangle.latents.directions import Directions
from disentangle.latents.sefa import with_fixed_signs
from disentangle.models.base import Generator

__all__ = ["ganspace", "read_ganspace"]

_DRAWN = 1000  # latents at once, whatever the batch: a draw depends on how it is cut into pieces
_WIDE = 4096  # features up to which their covariance is kept; beyond, the samples are
_MOST = 2**31  # bytes of samples that are kept


def ganspace(
    generator: Generator, *, space: str | None = None, layer: str | None = None, top: int = 10, samples: int = 10_000,
    batch: int = 50, seed: int = 0, progress: Callable[[int, int], None] | None = None,
) -> Directions:  # fmt: skip
    """Principal axes of w, or of the activations of a layer carried back to the latents.

    The covariance is accumulated exactly in float64, so that neither the batch nor the order of anything matters;
    published components are from an incremental approximation on a million samples.

    Args:
        generator: any generator.
        space: the space of the directions: "w" where there is one, else the first.
        layer: dotted name of a module inside the generator; its flattened output is analysed, and directions in
            ``space`` are the least squares of the latents on the coordinates, of unit length. None analyses the
            latents of ``space`` themselves, which for a z says nothing: it is normal by construction.
        top: how many directions.
        samples: latents drawn.
        batch: pictures made at once where a layer is analysed.
        seed: of the draw.
        progress: called with (samples done, samples in all).

    Returns:
        Directions whose ``scale`` is the standard deviation of the latents along them, and their ``mean``.

    Raises:
        InputError: if there is no such space or layer, too few samples, or too many features for the memory.
    """
    name = space or ("w" if "w" in generator.spaces else next(iter(generator.spaces)))
    if name not in generator.spaces:
        raise InputError(f"this generator has no space {name!r}; it has {', '.join(generator.spaces)}.")
    if samples < max(2, top + 1):
        raise InputError(f"samples is {samples}; expected more than top, which is {top}.")
    random = torch.Generator().manual_seed(seed)
    latents = torch.cat([
        generator.sample_latents(min(_DRAWN, samples - start), space=name, generator=random).flatten(1).cpu()
        for start in range(0, samples, _DRAWN)
    ])  # fmt: skip
    mean = latents.to(torch.float64).mean(0)
    if layer is None:
        vectors = _principal(latents, top)
    else:
        features = _activations(generator, latents.reshape(samples, *generator.spaces[name].shape), name, layer,
                                batch, progress)  # fmt: skip
        axes = _principal(features, top)
        centred = features.to(torch.float64) - features.to(torch.float64).mean(0)
        coordinates = centred @ axes.mT
        coordinates = coordinates / coordinates.std(dim=0, keepdim=True).clamp(min=1e-12)
        # Coordinates are uncorrelated, but nothing else is asked of them: solve for all together.
        solved = torch.linalg.lstsq(coordinates, latents.to(torch.float64) - mean).solution
        vectors = with_fixed_signs(solved / solved.norm(dim=1, keepdim=True).clamp(min=1e-300))
    scale = ((latents.to(torch.float64) - mean) @ vectors.mT).std(dim=0)
    return Directions(
        vectors=vectors.to(torch.float32), space=name, labels=tuple(f"pc {i}" for i in range(top)), method="ganspace",
        scale=scale.to(torch.float32), mean=mean.to(torch.float32),
    )  # fmt: skip


def _principal(rows: Tensor, top: int) -> Tensor:
    """(top, features) principal axes of (n, features), strongest first, float64."""
    n, width = rows.shape
    if top > min(n - 1, width):
        raise InputError(f"top is {top}; expected at most {min(n - 1, width)}.")
    mean = rows.to(torch.float64).mean(0)
    if width <= _WIDE:
        covariance = torch.zeros(width, width, dtype=torch.float64)
        for start in range(0, n, _DRAWN):
            part = rows[start : start + _DRAWN].to(torch.float64) - mean
            covariance.addmm_(part.mT, part)
        return with_fixed_signs(torch.linalg.eigh(covariance / (n - 1))[1].flip(1).mT[:top])
    centred = rows.to(torch.float64) - mean
    left = torch.linalg.eigh(centred @ centred.mT)[1]
    axes = left.flip(1).mT[:top] @ centred
    return with_fixed_signs(axes / axes.norm(dim=1, keepdim=True).clamp(min=1e-300))


def _activations(
    generator: Any, latents: Tensor, space: str, layer: str, batch: int, progress: Callable[[int, int], None] | None
) -> Tensor:
    """(n, features): the flattened output of a module for each latent."""
    if not isinstance(generator, nn.Module):
        raise InputError("layer was given, but this generator is no torch module; leave it out.")
    modules = dict(generator.named_modules())
    if layer not in modules:
        near = [name for name in modules if name.endswith(layer.rpartition(".")[2])][:4] or list(modules)[1:5]
        raise InputError(f"this generator has no module {layer!r}; it has for example {', '.join(near)}.")
    held: list[Tensor] = []
    parts: list[Tensor] = []
    hook = modules[layer].register_forward_hook(lambda module, inputs, output: held.append(output))
    try:
        with torch.inference_mode():
            for start in range(0, len(latents), batch):
                held.clear()
                reference = next(generator.parameters())
                generator(latents[start : start + batch].to(reference), space=space)
                if not held or not isinstance(held[0], Tensor):
                    raise InputError(f"module {layer!r} gives no tensor when the generator runs; choose another.")
                parts.append(held[0].flatten(1).float().cpu())
                if start == 0 and parts[0].shape[1] * len(latents) * 4 > _MOST:
                    raise InputError(
                        f"{len(latents)} samples of {parts[0].shape[1]} features take more than {_MOST >> 30} GiB; "
                        "take fewer samples or a smaller layer."
                    )
                if progress is not None:
                    progress(min(start + batch, len(latents)), len(latents))
    finally:
        hook.remove()
    return torch.cat(parts)


def read_ganspace(path: str | os.PathLike[str], *, space: str = "w", top: int | None = None) -> Directions:
    """Components published as an ``.npz`` file by the authors' code.

    Args:
        path: a file with ``lat_comp``, ``lat_stdev`` and ``lat_mean``.
        space: where they live: "w" for the files of StyleGANs made with ``--use_w``, else "z".
        top: only the first so many.

    Raises:
        CheckpointError: if it is no such file. Nothing in it is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ("lat_comp", "lat_stdev") if key not in file.files]
            if missing:
                raise CheckpointError(f"{path} has no {missing[0]}; expected components saved by GANSpace.")
            components, deviations = np.asarray(file["lat_comp"]), np.asarray(file["lat_stdev"])
            mean = np.asarray(file["lat_mean"]) if "lat_mean" in file.files else None
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; expected components saved by GANSpace.") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise CheckpointError(f"{path} is no readable .npz file of numbers ({error}); expected GANSpace's.") from None
    vectors = torch.from_numpy(np.array(components, dtype=np.float32)).flatten(1)[:top]
    scale = torch.from_numpy(np.array(deviations, dtype=np.float32)).flatten()[:top]
    return Directions(
        vectors=vectors, space=space, labels=tuple(f"pc {i}" for i in range(len(vectors))), method="ganspace",
        scale=scale, mean=None if mean is None else torch.from_numpy(np.array(mean, dtype=np.float32)).flatten(),
    )  # fmt: skip
