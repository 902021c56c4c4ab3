"""What each latent coordinate does to the image: how much (activeness), and whether two do the same (orthogonality)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.checks import check_finite, check_integer, check_number
from disentangle.errors import InputError
from disentangle.evaluations.classes import ClassPlan, plan_classes
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looks_at

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["activeness", "jacobian_orthogonality"]


@looks_at("generator")
def activeness(
    generator: Any, *, n: int = 64, step: float = 1.0, space: str | None = None, threshold: float = 0.1, seed: int = 0,
    label: int | None = None, class_shares: Sequence[float] | None = None,
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


@looks_at("generator")
def jacobian_orthogonality(
    generator: Any, *, n: int = 16, space: str | None = None, seed: int = 0, label: int | None = None,
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

    from disentangle.linalg.derivative import directional_derivative

    start = time.perf_counter()
    name, latents, plan = _sample(generator, n, space, seed, label, class_shares)
    walk = generator.spaces[name].walk
    squares, absolute, lengths = [], [], []
    for position, latent in enumerate(latents.split(1)):
        drawn = plan.part(generator, position, position + 1)
        columns = []
        for coordinate in walk:
            direction = torch.zeros_like(latent).flatten(1)
            direction[:, coordinate] = 1

            def image(z: Tensor, drawn: Any = drawn) -> Tensor:
                found: Tensor = drawn(z, space=name)
                return found

            column = directional_derivative(image, latent, direction.reshape(latent.shape))
            if column.is_complex():
                raise InputError("the generator makes complex images; expected real ones.")
            columns.append(column.flatten().double())
        jacobian = torch.stack(columns)
        check_finite(jacobian.cpu().numpy(), "derivatives of the images", advice="the generator has none there")
        length = jacobian.norm(dim=1)
        unit = jacobian / torch.where(length > 0, length, torch.ones_like(length))[:, None]
        cosine = (unit @ unit.T).fill_diagonal_(0)
        squares.append(cosine.square())
        absolute.append(cosine.abs())
        lengths.append(length)
    d = len(walk)
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


def _sample(
    generator: Any, n: int, space: str | None, seed: int, label: int | None, class_shares: Sequence[float] | None
) -> tuple[str, Tensor, ClassPlan]:
    import torch

    name = next(iter(generator.spaces)) if space is None else space
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    plan = plan_classes(generator, check_integer("n", n, least=1), label=label, class_shares=class_shares, seed=seed)
    latents: Tensor = plan.part(generator, 0, n).sample_latents(n, space=name, generator=stream)
    return name, latents, plan
