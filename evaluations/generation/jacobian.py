"""What each latent coordinate does to the image: how much (activeness), and whether two do the same (orthogonality)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.checks import check_finite, check_integer, check_number
from disentangle.errors import InputError
from disentangle.evaluations.classes import ClassPlan, Generator, plan_classes
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looks_at
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["activeness", "ima_contrast", "jacobian_orthogonality"]


@checks_arguments
@looks_at("generator")
def activeness(
    generator: Generator, *, n: int = 64, step: float = 1.0, space: str | None = None, threshold: float = 0.1,
    seed: int = 0, label: int | None = None, class_shares: Sequence[float] | None = None,
) -> Score:  # fmt: skip
    """How many coordinates of the latent move the image, and how far.

    For each walked coordinate, the mean absolute change of a pixel (images in [-1, 1]) when it moves from -step to
    +step, over ``n`` random latents. A coordinate counts as active if it moves the image at least ``threshold`` times
    as far as the most active one does. ``label`` and ``class_shares`` are for a generator with classes, see
    :func:`~disentangle.evaluations.classes.plan_classes`.

    Returns:
        Score ``"activeness"``; value: number of active coordinates. Parts: ``"per_code"`` changes, in walk order.
    """
    import torch

    start = time.perf_counter()
    step, threshold = check_number("step", step, above=0), check_number("threshold", threshold, least=0)
    name, latents, plan = _sample(generator, n, space, seed, label, class_shares)
    drawn = plan.part(generator, 0, n)
    changes = []
    with torch.inference_mode():
        for coordinate in generator.spaces[name].walk:
            images = []
            for value in (-step, step):
                flat = latents.clone().flatten(1)
                flat[:, coordinate] = value
                images.append(drawn(flat.reshape(latents.shape), space=name))
            changes.append(float((images[1] - images[0]).abs().mean()))
    check_finite(np.array(changes), "changes of the images", advice="the generator makes no images there")
    largest = max(changes)
    active = [change >= threshold * largest and change > 0 for change in changes]
    return Score(
        name="activeness",
        value=float(sum(active)),
        parts={"per_code": torch.tensor(changes).numpy(), "active": torch.tensor(active).numpy()},
        settings={
            "n": len(latents), "step": step, "space": name, "threshold": threshold, "seed": seed, **plan.settings,
            "packages": package_versions("torch"),
        },
        seconds=time.perf_counter() - start,
    )  # fmt: skip


@checks_arguments
@looks_at("generator")
def jacobian_orthogonality(
    generator: Generator, *, n: int = 16, space: str | None = None, seed: int = 0, label: int | None = None,
    class_shares: Sequence[float] | None = None,
) -> Score:  # fmt: skip
    """How alike the changes of the image are that different coordinates cause.

    With J the derivative of the image by the walked coordinates, at a random latent, the mean over pairs of coordinates
    of the squared cosine of their columns, and over latents: what OroJaR (Wei et al., ICCV 2021) drives to 0, made
    independent of scale. 0 if all are orthogonal, 1 if all do the same. Columns are exact, in forward mode.
    ``label`` and ``class_shares`` are for a generator with classes, see
    :func:`~disentangle.evaluations.classes.plan_classes`.

    Returns:
        Score ``"jacobian-orthogonality"``, lower is better. Parts: ``"cosine"`` (d, d) mean absolute, ``"per_code"``
        the mean of each coordinate's row, ``"length"`` mean lengths of the columns. A coordinate that does nothing has
        cosine 0.
    """
    import torch

    start = time.perf_counter()
    name, latents, plan = _sample(generator, n, space, seed, label, class_shares)
    squares, absolute, lengths = [], [], []
    for columns in _jacobians(generator, name, latents, plan):
        cosine, length = _cosines(columns)
        cosine.fill_diagonal_(0)
        squares.append(cosine.square())
        absolute.append(cosine.abs())
        lengths.append(length)
    d = len(lengths[0])
    pairs = max(d * (d - 1), 1)
    mean = torch.stack(absolute).mean(0)
    return Score(
        name="jacobian-orthogonality",
        value=float(torch.stack(squares).mean(0).sum() / pairs),
        parts={
            "cosine": mean.numpy(),
            "per_code": (mean.sum(1) / max(d - 1, 1)).numpy(),
            "length": torch.stack(lengths).mean(0).numpy(),
        },
        settings={
            "n": len(latents), "space": name, "seed": seed, **plan.settings, "packages": package_versions("torch"),
        },
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


@checks_arguments
@looks_at("generator")
def ima_contrast(
    generator: Generator, *, n: int = 16, space: str | None = None, turns: int = 8, seed: int = 0,
    label: int | None = None, class_shares: Sequence[float] | None = None,
) -> Score:  # fmt: skip
    """The contrast of independent mechanism analysis, C_IMA: how far the latents' effects are from orthogonal.

    ``sum_i log |J_i| - 1/2 log det J^T J`` at a random latent, over the columns J_i of the derivative of the image by
    the walked coordinates, averaged over latents: 0 if the columns are orthogonal, whatever their lengths, and unmoved
    by a scale of images or latents. Coordinates that do nothing at a latent are left out there. Unlike the mean squared
    cosine it sees dependences of more than two columns. Columns are exact, in forward mode. Chance is the same
    derivative after random turns of the coordinates that do something, which leave the images' distribution as it is
    where the latents are normal. ``label`` and ``class_shares`` are for a generator with classes, see
    :func:`~disentangle.evaluations.classes.plan_classes`.

    Source: Gresele et al., "Independent mechanism analysis, a new concept?", NeurIPS 2021, definition 4.2.

    Returns:
        Score ``"ima-contrast"`` in nats, lower is better. Parts: ``"per_latent"`` (n,), ``"active"`` (n,) coordinates
        that do something there.
    """
    import torch

    start = time.perf_counter()
    turns = check_integer("turns", turns, least=0)
    name, latents, plan = _sample(generator, n, space, seed, label, class_shares)
    stream = torch.Generator().manual_seed(seed)
    contrasts, active, turned = [], [], []
    for columns in _jacobians(generator, name, latents, plan):
        moving = columns[columns.norm(dim=1) > 0]
        contrasts.append(_contrast(moving))
        active.append(len(moving))
        for _ in range(turns):
            drawn = torch.randn(len(moving), len(moving), generator=stream, dtype=torch.float64)
            turned.append(_contrast(torch.linalg.qr(drawn).Q @ moving.cpu()))
    return Score(
        name="ima-contrast",
        value=float(np.mean(contrasts)),
        parts={"per_latent": np.array(contrasts), "active": np.array(active)},
        settings={
            "n": len(latents), "space": name, "turns": turns, "seed": seed, **plan.settings,
            "packages": package_versions("torch"),
        },
        higher_is_better=False,
        seconds=time.perf_counter() - start,
        chance=float(np.mean(turned)) if turned else None,
        ceiling=0.0,
    )  # fmt: skip


def _contrast(columns: Tensor) -> float:
    """C_IMA of (d, outputs) columns; infinite ones, of columns that depend on each other, are bounded by rounding."""
    import torch

    cosine, _ = _cosines(columns)
    eigenvalues: Tensor = torch.linalg.eigvalsh(cosine.fill_diagonal_(1))
    return float(-0.5 * eigenvalues.clamp_min(len(cosine) * torch.finfo(torch.float64).eps).log().sum())


def _cosines(columns: Tensor) -> tuple[Tensor, Tensor]:
    """(d, d) cosines of (d, outputs) columns, and their lengths."""
    import torch

    length = columns.norm(dim=1)
    unit = columns / torch.where(length > 0, length, torch.ones_like(length))[:, None]
    return unit @ unit.T, length


def _jacobians(generator: Any, space: str, latents: Tensor, plan: ClassPlan) -> Iterator[Tensor]:
    """At each latent the derivatives of the image by the walked coordinates, (d, outputs) in float64."""
    import torch

    from disentangle.linalg.derivative import directional_derivative

    for position, latent in enumerate(latents.split(1)):
        drawn = plan.part(generator, position, position + 1)

        def image(z: Tensor, drawn: Any = drawn) -> Tensor:
            found: Tensor = drawn(z, space=space)
            return found

        columns = []
        for coordinate in generator.spaces[space].walk:
            direction = torch.zeros_like(latent).flatten(1)
            direction[:, coordinate] = 1
            column = directional_derivative(image, latent, direction.reshape(latent.shape))
            if column.is_complex():
                raise InputError("the generator makes complex images; expected real ones.")
            columns.append(column.flatten().double())
        jacobian = torch.stack(columns)
        check_finite(jacobian.cpu().numpy(), "derivatives of the images", advice="the generator has none there")
        yield jacobian


def _sample(
    generator: Any, n: int, space: str | None, seed: int, label: int | None, class_shares: Sequence[float] | None
) -> tuple[str, Tensor, ClassPlan]:
    import torch

    name = next(iter(generator.spaces)) if space is None else space
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    plan = plan_classes(generator, check_integer("n", n, least=1), label=label, class_shares=class_shares, seed=seed)
    latents: Tensor = plan.part(generator, 0, n).sample_latents(n, space=name, generator=stream)
    return name, latents, plan
