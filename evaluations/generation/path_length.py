"""Perceptual path length (PPL)."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_image_range, check_integer
from disentangle.errors import InputError, unknown_name
from disentangle.evaluations.classes import Generator, plan_classes
from disentangle.evaluations.generation.latent_paths import PATHS
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looks_at
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "PRESETS",
    "PathLengthSettings",
    "check_distances",
    "described_distance",
    "filtered",
    "path_length",
    "piece_sizes",
    "prepare_images",
    "scored_name",
]

PIECE = 256  # latents drawn at once
SMALLEST_QUANTISED = 1e-2  # below this step an 8-bit image differs from its neighbour by rounding, not by content


@dataclass(frozen=True)
class PathLengthSettings:
    """Everything that moves a perceptual path length.

    Attributes:
        space: of the latents.
        path: "lerp", "slerp", "slerp_unit" or "slerp_sphere".
        ends: "full", a random place on the path; "end", its beginning.
        epsilon: step along the path, from 0 to 1 end to end; 0 for the limit, by forward-mode differentiation.
        crop: the middle of a face: rows 3/8 to 7/8, columns 2/8 to 6/8.
        size: side of the images that are compared; None for their own.
        resize: "box", means over whole blocks, and "bilinear", not antialiased, both from twice the size on; "area"
            down and bilinear up.
        quantise: to 8 bits first.
        low, high: percentiles outside of which distances are left out, None for all.
        high_method: of numpy's percentile for the upper one, "higher" or "lower".
        ddof: of the standard deviation.
    """

    space: str = "w"
    path: Literal["lerp", "slerp", "slerp_unit", "slerp_sphere"] = "lerp"
    ends: Literal["full", "end"] = "end"
    epsilon: float = 1e-4
    crop: bool = False
    size: int | None = 256
    resize: Literal["box", "bilinear", "area"] = "box"
    quantise: bool = False
    low: float | None = 1.0
    high: float | None = 99.0
    high_method: Literal["higher", "lower"] = "higher"
    ddof: int = 0


# torch-fidelity takes 8-bit images even at 1e-4, which measures their rounding; its preset here has floats.
PRESETS: dict[str, tuple[PathLengthSettings, int]] = {
    "ppl2_wend": (PathLengthSettings(), 50_000),
    "stylegan2": (PathLengthSettings(ends="full", crop=True), 50_000),
    "stylegan2-z": (PathLengthSettings(space="z", path="slerp_sphere", ends="full", crop=True), 50_000),
    "torch-fidelity": (PathLengthSettings(space="z", size=64, resize="area"), 50_000),
    "torchmetrics": (
        PathLengthSettings(space="z", size=64, resize="area", high_method="lower", ddof=1), 10_000,
    ),
    "rosinality": (PathLengthSettings(resize="bilinear"), 5_000),
}  # fmt: skip


@checks_arguments
@looks_at("generator", "distance")
def path_length(
    generator: Generator,
    distance: Any,
    *,
    preset: str = "ppl2_wend",
    n: int | None = None,
    space: str | None = None,
    batch: int = 16,
    seed: int = 0,
    name: str = "ppl",
    label: int | None = None,
    class_shares: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Score:
    """How far images move for a small step of the latent, over the square of the step, in the mean.

    E[d(G(I(a, b; t)), G(I(a, b; t + epsilon))) / epsilon^2] for random latents a and b: Karras, Laine and Aila, "A
    Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019, equation 2. LPIPS is a squared
    distance already. With ``epsilon=0`` the limit, |d embed(G(I(a, b; t))) / dt|^2, in forward mode: no step to choose
    and no rounding.

    Args:
        generator: has ``sample_latents(n, space=, generator=)``, ``spaces`` and ``__call__(latents, space=)`` to images
            in [-1, 1], as :class:`disentangle.models.Generator`. Of a space that walks some coordinates only (an
            EigenGAN's bases without its input noise), both ends share the others.
        distance: images (n, C, H, W) in [-1, 1], twice, to (n,) squared distances; for ``epsilon=0`` it also has
            ``embed(images) -> (n, m)``, whose squared difference the distance is.
        preset: a key of :data:`PRESETS`: whose choices. Where the generator lacks the preset's space its first one is
            used, and the protocol is custom.
        n: pairs; by default the preset's.
        space: of the latents, one of the generator's.
        batch: pairs at once; the latents are drawn by pieces of their own, so that it moves no draw.
        seed: of latents and places.
        name: of the score. Alone it is for LPIPS with its published weights; the name of any other distance is put
            behind it, as "ppl/efficientnet-lite0", unless it has a slash already.
        label, class_shares: of a generator with classes, see :func:`~disentangle.evaluations.classes.plan_classes`;
            a step stays in its class.
        progress: called with (pairs done, pairs in all).
        **changes: fields of :class:`PathLengthSettings` to replace.

    Returns:
        Score, lower is better. Parts: ``"standard_deviation"``, ``"kept"``, ``"unfiltered_mean"``, ``"distances"``.

    Raises:
        InputError: on settings that do not fit, images outside [-1, 1], 8-bit images with a step below 0.01, or
            distances that are no numbers.
    """
    import torch

    start = time.perf_counter()
    if preset not in PRESETS:
        raise unknown_name("path length preset", preset, PRESETS)
    settings, pairs = PRESETS[preset]
    pairs, batch = pairs if n is None else check_integer("n", n, least=1), check_integer("batch", batch, least=1)
    for field in changes:
        if field not in asdict(settings):
            raise unknown_name("setting of a path length", field, asdict(settings))
    spaces = dict(generator.spaces)
    wanted = settings.space if space is None else space
    if wanted not in spaces:
        if space is not None:
            raise unknown_name("latent space", space, spaces)
        wanted = next(iter(spaces))
    used = replace(settings, space=wanted, **changes)
    _check(used, distance)
    plan = plan_classes(generator, pairs, label=label, class_shares=class_shares, seed=seed)
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    values: list[np.ndarray] = []
    done = 0
    with torch.no_grad():
        for count in piece_sizes(pairs):
            of_piece = plan.part(generator, done, done + count)
            ends = [of_piece.sample_latents(count, space=wanted, generator=stream) for _ in range(2)]
            place = torch.rand(count, generator=stream) if used.ends == "full" else torch.zeros(count)
            for first, second, at in zip(*(drawn.split(batch) for drawn in (*ends, place)), strict=True):
                of_batch = plan.part(generator, done, done + len(first))
                part = _distances(of_batch, distance, used, spaces[wanted], first, second, at)
                values.append(part.double().cpu().numpy())
                done += len(first)
                if progress is not None:
                    progress(done, pairs)
    distances = np.concatenate(values)
    check_distances(distances, distance)
    kept = filtered(distances, used)
    return Score(
        name=scored_name(name, distance),
        value=float(kept.mean()),
        parts={
            "standard_deviation": float(kept.std(ddof=used.ddof)) if len(kept) > used.ddof else 0.0,
            "kept": len(kept),
            "unfiltered_mean": float(distances.mean()),
            "distances": distances,
        },
        settings={
            "protocol": preset if used == settings else f"custom (from {preset})",
            **asdict(used),
            "n": pairs,
            "seed": seed,
            **described_distance(distance),
            **plan.settings,
            "packages": package_versions("torch", "numpy"),
        },
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )


def piece_sizes(n: int) -> Iterator[int]:
    """Sizes of the pieces in which ``n`` latents are drawn. A draw depends on how it is cut, and the batch, which the
    memory decides on, must not matter."""
    for first in range(0, n, PIECE):
        yield min(PIECE, n - first)


def check_distances(distances: np.ndarray, distance: Any) -> None:
    """Refuse a mean of what is no number.

    Raises:
        InputError: if any distance is NaN or infinite.
    """
    bad = int(np.sum(~np.isfinite(distances)))
    if bad:
        raise InputError(
            f"{bad} of {len(distances)} distances by {_label(distance)} are NaN or infinite; does the generator make "
            "NaN, or has the distance no derivative there?"
        )


def scored_name(name: str, distance: Any) -> str:
    """``name`` alone where the distance is LPIPS with its published weights, else with the distance behind a slash."""
    if "/" in name or getattr(distance, "has_published_weights", False) is True:
        return name
    return f"{name}/{_label(distance)}"


def described_distance(distance: Any) -> dict[str, Any]:
    """What a score's settings say of its distance: the name, and the hash of its weights where it has one."""
    name, sha256 = getattr(distance, "name", type(distance).__name__), getattr(distance, "sha256", "")
    return {"distance": name, **({"weights_sha256": sha256} if sha256 else {})}


def _label(distance: Any) -> str:
    return str(
        getattr(distance, "label", None)
        or getattr(distance, "name", None)
        or getattr(distance, "__name__", type(distance).__name__)
    )


def filtered(distances: ArrayLike, settings: PathLengthSettings) -> np.ndarray:
    """The distances within the percentiles, ends included."""
    values = np.asarray(distances)
    keep = np.ones(len(values), dtype=bool)
    if settings.low is not None:
        keep &= values >= np.percentile(values, settings.low, method="lower")
    if settings.high is not None:
        keep &= values <= np.percentile(values, settings.high, method=settings.high_method)
    return values[keep]


def prepare_images(images: Tensor, settings: PathLengthSettings) -> Tensor:
    """Crop, resize and quantise (n, C, H, W) in [-1, 1] as the settings say."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    if settings.crop:
        height, width = images.shape[-2:]
        images = images[..., height * 3 // 8 : height * 7 // 8, width * 2 // 8 : width * 6 // 8]
    side = images.shape[-1]
    if settings.size is not None and side != settings.size:
        size = (settings.size, settings.size)
        factor = side // settings.size
        if settings.resize == "box":
            images = avg_pool2d(images, factor) if factor > 1 else images
        elif settings.resize == "area" and side > settings.size:
            images = interpolate(images, size, mode="area")
        elif settings.resize == "area" or factor > 1:
            images = interpolate(images, size, mode="bilinear", align_corners=False)
    if settings.quantise:
        images = torch.floor((images * 127.5 + 128).clamp(0, 255)) / 127.5 - 1
    return images


def _check(settings: PathLengthSettings, distance: Any) -> None:
    if settings.path not in PATHS:
        raise unknown_name("path", settings.path, PATHS)
    if settings.ends not in ("full", "end"):
        raise InputError(f"ends is {settings.ends!r}; expected 'full' or 'end'.")
    if not (isinstance(settings.epsilon, numbers.Real) and 0 <= settings.epsilon < math.inf):
        raise InputError(f"epsilon is {settings.epsilon!r}; expected a step above 0, or 0 for the limit.")
    if settings.quantise and settings.epsilon < SMALLEST_QUANTISED:
        raise InputError(
            f"8-bit images and a step of {settings.epsilon:g} would measure the images' rounding, many times the path "
            f"length; give quantise=False, or epsilon of {SMALLEST_QUANTISED:g} or more."
        )
    if settings.epsilon == 0 and not callable(getattr(distance, "embed", None)):
        raise InputError(
            f"epsilon=0 differentiates what images are compared by, but {type(distance).__name__} has no "
            "embed(images); give a distance that has, or an epsilon such as 1e-4."
        )


def _distances(
    generator: Any,
    distance: Any,
    settings: PathLengthSettings,
    space: Any,
    first: Tensor,
    second: Tensor,
    place: Tensor,
) -> Tensor:
    """(count,) distances over the squared step, at ``place`` (count,) between both ends of each path."""
    import torch

    moving = torch.zeros(space.size, dtype=torch.bool)
    moving[list(space.walk)] = True
    moving = moving.reshape(space.shape).to(first.device)
    second = torch.where(moving, second, first)
    place = place.to(first).reshape(-1, *[1] * (first.ndim - 1))

    def latents(t: Tensor) -> Tensor:
        path = PATHS[settings.path]
        if bool(moving.all()):
            return path(first, second, t)
        # an arc is one of the coordinates that move
        a, b = (ends.flatten(1)[:, moving.flatten()] for ends in (first, second))
        on_path = path(a, b, t.flatten(1)[:, :1])
        rows = first.flatten(1).clone()
        columns = moving.flatten().nonzero().flatten()
        return rows.index_copy(1, columns, on_path).reshape(first.shape)

    def images(t: Tensor) -> Tensor:
        return prepare_images(generator(latents(t), space=settings.space), settings)

    if settings.epsilon == 0:
        from disentangle.linalg.derivative import directional_derivative

        def embedded(t: Tensor) -> Tensor:
            made = images(t)
            check_image_range(made, "the generator's images")
            return distance.embed(made)

        derivative = directional_derivative(embedded, place, torch.ones_like(place))
        return derivative.flatten(1).square().sum(1)
    before = images(place)
    check_image_range(before, "the generator's images")
    step: Tensor = distance(before, images(place + settings.epsilon))
    return step.reshape(len(first)) / settings.epsilon**2
