"""GANSpace: principal directions of a generator's own latents or activations.

Source: Härkönen, Hertzmann, Lehtinen, Paris, "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disentangle.array_files import ArrayFile
from disentangle.checks import check_integer, check_seed
from disentangle.errors import ArgumentError, CheckpointError, InputError, reason
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.method import DirectionMethod, keywords_of
from disentangle.latents.sefa import with_fixed_signs
from disentangle.latents.traversal import check_fit
from disentangle.linalg.moments import Moments, leading_eigenpairs
from disentangle.looking import looks_at
from disentangle.models.base import Generator, class_option
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "ganspace", "read_ganspace"]

_MOST_COMPONENTS = 100_000  # in a file; no latent space is as wide

_DRAWN = 1000  # latents at once, whatever the batch: a draw depends on how it is cut into pieces
_WIDE = 8192  # features up to which their covariance is accumulated (0.5 GiB); beyond, the samples are kept
_MOST = 2**31  # bytes of samples that are kept


@checks_arguments
@looks_at("generator")
def ganspace(
    generator: Generator, *, space: str | None = None, layer: str | None = None, top: int = 10, samples: int = 10_000,
    batch: int = 50, seed: int = 0, label: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Directions:  # fmt: skip
    """Principal axes of w, or of the activations of a layer carried back to the latents.

    The covariance is accumulated exactly in float64, so that neither the batch nor the order of anything matters, and
    no samples are kept; published components are from an incremental approximation on a million samples. Nothing is
    truncated.

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
        label: class of a conditional generator.
        progress: called with (samples done, samples in all).

    Returns:
        Directions whose ``scale`` is the standard deviation of the latents along them, and their ``mean``.

    Raises:
        InputError: if there is no such space or layer, more directions than axes the samples vary along, or a layer of
            over 8192 features for so many samples that they do not fit 2 GiB.
    """
    name = space or ("w" if "w" in generator.spaces else next(iter(generator.spaces)))
    if name not in generator.spaces:
        raise InputError(f"this generator has no space {name!r}; it has {', '.join(generator.spaces)}.")
    top, samples = check_integer("top", top, least=1), check_integer("samples", samples)
    if samples < top + 1:
        raise ArgumentError(f"samples is {samples}; expected more than top, which is {top}.")
    drawn = _drawn(generator, name, samples, seed, label)
    if layer is None:
        moments = Moments(_within(generator.spaces[name].size, top))
        for latents in drawn:
            moments.add(latents.flatten(1))
            if progress is not None:
                progress(moments.count, samples)
        mean, covariance = moments.mean(), moments.covariance()
        vectors = leading_eigenpairs(covariance, top, rounding=moments.rounding())[1]
    else:
        mean, covariance, vectors = _through_a_layer(
            generator, name, layer, drawn, samples, top, batch, label, progress
        )
    vectors = with_fixed_signs(vectors)
    scale = ((vectors @ covariance) * vectors).sum(1).sqrt()
    return Directions(
        vectors=vectors.to(torch.float32), space=name, labels=tuple(f"pc {i}" for i in range(top)), method="ganspace",
        scale=scale.to(torch.float32), mean=mean.to(torch.float32), generator=fingerprint(generator, name),
    )  # fmt: skip


def _drawn(generator: Any, space: str, samples: int, seed: int, label: int | None) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(check_seed(seed))
    options = class_option(generator, label)
    for start in range(0, samples, _DRAWN):
        yield generator.sample_latents(min(_DRAWN, samples - start), space=space, generator=random, **options)


def _within(width: int, top: int) -> int:
    if top > width:
        raise InputError(f"top is {top}; expected at most {width}, the numbers of a sample.")
    return width


def _through_a_layer(
    generator: Any, space: str, layer: str, drawn: Iterator[Tensor], samples: int, top: int, batch: int,
    label: int | None, progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Mean and covariance of the latents, and (top, latent size) unit directions of the layer's principal axes.

    Coordinates along principal axes are uncorrelated, so that the least squares of the latents on them are their
    covariances with the latents.
    """
    size = generator.spaces[space].size
    own, joint, kept = Moments(size), None, []
    done = 0
    with torch.inference_mode(), _recorded(generator, layer) as held:
        for latents in drawn:
            own.add(latents.flatten(1))
            for part in latents.split(batch):
                held.clear()
                generator(part, space=space, **class_option(generator, label))
                if not held or not isinstance(held[0], Tensor) or len(held[0]) != len(part):
                    raise InputError(
                        f"module {layer!r} gives no tensor with a row a latent when the generator runs from {space!r}; "
                        "choose another."
                    )
                features = held[0].flatten(1).to("cpu")
                if not done:
                    width = _within(features.shape[1], top)
                    if width <= _WIDE:
                        joint = Moments(width + size)
                    else:
                        _refuse_too_many(samples, width)
                if joint is None:
                    kept.append((features.float(), part.flatten(1).cpu()))
                else:
                    joint.add(torch.cat([features.double(), part.flatten(1).cpu().double()], dim=1))
                done += len(part)
                if progress is not None:
                    progress(done, samples)
    if joint is not None:
        together = joint.covariance()
        axes = leading_eigenpairs(together[:width, :width], top, rounding=joint.rounding())[1]
        vectors = axes @ together[:width, width:]
    else:
        # As many numbers as samples instead: eigenvectors of the samples' products are the coordinates.
        coordinates = leading_eigenpairs(_products([rows for rows, _ in kept]), top)[1]
        vectors = coordinates @ (torch.cat([rows for _, rows in kept]).double() - own.mean())
    lengths = vectors.norm(dim=1, keepdim=True)
    return own.mean(), own.covariance(), vectors / lengths.clamp(min=torch.finfo(torch.float64).tiny)


def _refuse_too_many(samples: int, width: int) -> None:
    most = min(_WIDE, _MOST // (4 * width))
    if samples > most:
        raise InputError(
            f"{samples} samples of {width} features do not fit the memory; take at most {most} samples, or a smaller "
            "layer."
        )


def _products(parts: list[Tensor]) -> Tensor:
    """(n, n) scalar products of all rows about their mean, float64."""
    n, width = sum(map(len, parts)), parts[0].shape[1]
    products = torch.zeros(n, n, dtype=torch.float64)
    for first in range(0, width, _DRAWN):
        columns = torch.cat([part[:, first : first + _DRAWN] for part in parts]).double()
        columns -= columns.mean(0)
        products.addmm_(columns, columns.mT)
    return products


@contextmanager
def _recorded(generator: Any, layer: str) -> Iterator[list[Any]]:
    """A list to which a module's outputs are appended while it runs."""
    if not isinstance(generator, nn.Module):
        raise InputError("layer was given, but this generator is no torch module; leave it out.")
    modules = dict(generator.named_modules())
    if layer not in modules:
        near = [name for name in modules if name.endswith(layer.rpartition(".")[2])][:4] or list(modules)[1:5]
        raise InputError(f"this generator has no module {layer!r}; it has for example {', '.join(near)}.")
    held: list[Any] = []
    hook = modules[layer].register_forward_hook(lambda module, inputs, output: held.append(output))
    try:
        yield held
    finally:
        hook.remove()


@checks_arguments
def read_ganspace(path: str | os.PathLike[str], *, space: str = "w", top: int | None = None) -> Directions:
    """Components published as an ``.npz`` file by the authors' code.

    Args:
        path: a file with ``lat_comp``, ``lat_stdev`` and ``lat_mean``.
        space: where they live: "w" for the files of StyleGANs made with ``--use_w``, else "z".
        top: only the first so many.

    Raises:
        CheckpointError: if it is no such file. Nothing in it is unpickled.
    """
    fault = "is no readable .npz file of GANSpace's numbers"
    with ArrayFile(path, what="components saved by GANSpace", fault=fault, error=CheckpointError) as file:
        if file.names == ("",):
            raise CheckpointError(f"{path} {fault} (it is one array); expected components saved by GANSpace.")
        for key in ("lat_comp", "lat_stdev"):
            if key not in file.names:
                raise CheckpointError(f"{path} has no {key}; expected components saved by GANSpace.")
        named = [key for key in ("lat_comp", "lat_stdev", "lat_mean") if key in file.names]
        if any(file.header(key).dtype.kind in "biu" for key in named):
            raise CheckpointError(f"{path} {fault} (they are whole numbers); expected floating point.")
        arrays = {key: torch.from_numpy(file.read(key).astype(np.float32)) for key in named}
    if not arrays["lat_comp"].ndim:
        raise CheckpointError(f"{path} {fault} (lat_comp is one number); expected a row for each component.")
    vectors = arrays["lat_comp"].flatten(1)[:top] if arrays["lat_comp"].ndim > 1 else arrays["lat_comp"][None]
    scale, mean = arrays["lat_stdev"].flatten()[:top], arrays.get("lat_mean")
    if not vectors.numel() or max(len(vectors), len(scale)) > _MOST_COMPONENTS:
        raise CheckpointError(
            f"{path} {fault} (it has {len(vectors):,} components of {vectors[:1].numel()} numbers); expected at least "
            f"one, and at most {_MOST_COMPONENTS:,}."
        )
    try:
        return Directions(
            vectors=vectors, space=space, labels=tuple(f"pc {i}" for i in range(len(vectors))), method="ganspace",
            scale=scale, mean=None if mean is None else mean.flatten(),
        )  # fmt: skip
    except InputError as error:
        raise CheckpointError(f"{path} {fault} ({reason(error)}).") from None


def _find(
    generator: Generator, *, source: str | os.PathLike[str] | None = None, space: str | None = None, top: int = 10,
    **options: Any,
) -> Directions:  # fmt: skip
    if source is None:
        return ganspace(generator, space=space, top=top, **options)
    found = read_ganspace(source, space=space or ("w" if "w" in generator.spaces else "z"), top=top)
    check_fit(generator, found)
    return dataclasses.replace(found, generator=fingerprint(generator, found.space))


METHOD = DirectionMethod(
    "ganspace",
    "Principal axes of w, or of a module's activations; or those that its authors published as a file (source).",
    _find,
    options=("source", *keywords_of(ganspace)),
    replaces={"source": ("layer", "samples", "batch", "seed", "label", "progress")},
)
