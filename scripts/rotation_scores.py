"""What the study ROT measures of one generator, along each of its axes (docs/preregistration.md)."""

from __future__ import annotations

import functools
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reproduce_independence import DATA
from torch import Tensor

AXES_LATENTS = COSINE_LATENTS = 256
AXES_SEED, COSINE_SEED, PAIRS_SEED = 1, 2, 3
RANDOM_TURNS = 8
PAIRS, EPOCHS, TRAIN_FRACTION = 4_000, 25, 0.2
PREDICTOR_SEEDS = (0, 1, 2)
MIG_PICTURES, DCI_PICTURES, PREDICTOR_STEPS = 10_000, 4_000, 2_500
FD_GENERATED, FD_REAL, PPL_PAIRS = 1_000, 5_000, 256

Blocks = list[list[int]]  # positions among the walked coordinates


class Turned:
    """A generator whose walked latents are coordinates along other axes: rows of a (k, k) orthogonal matrix."""

    def __init__(self, generator: Any, axes: Tensor) -> None:
        self.generator, self.axes, self.spaces = generator, axes.float(), generator.spaces
        self.walk = list(next(iter(generator.spaces.values())).walk)

    def sample_latents(self, n: int, **options: Any) -> Tensor:
        latents: Tensor = self.generator.sample_latents(n, **options)
        return latents

    def __call__(self, latents: Tensor, **options: Any) -> Tensor:
        own = latents.clone()
        own[:, self.walk] = latents[:, self.walk] @ self.axes
        images: Tensor = self.generator(own, **options)
        return images


# ------------------------------------------------------------------------------------------------------------ axes


def blocks_of(generator: Any) -> Blocks:
    """The coordinates that may be turned among themselves; all of them, if no projection reads any."""
    walk = list(next(iter(generator.spaces.values())).walk)
    found = [[walk.index(c) for c in p.coordinates] for p in generator.projections().values()]
    return found or [list(range(len(walk)))]


def random_axes(blocks: Blocks, seed: int) -> Tensor:
    """Uniform over the rotations (and reflections) of each block."""
    axes = torch.zeros(sum(map(len, blocks)), sum(map(len, blocks)), dtype=torch.float64)
    draws = torch.Generator().manual_seed(seed)
    for block in blocks:
        factor, triangle = torch.linalg.qr(torch.randn(len(block), len(block), generator=draws, dtype=torch.float64))
        axes[np.ix_(block, block)] = factor * triangle.diagonal().sign()
    return axes


def singular_axes(generator: Any, blocks: Blocks) -> Tensor:
    """The right singular vectors of each projection's map, strongest first."""
    axes = torch.zeros(sum(map(len, blocks)), sum(map(len, blocks)), dtype=torch.float64)
    for block, projection in zip(blocks, generator.projections().values(), strict=True):
        matrix = projection.matrix().detach().double()
        axes[np.ix_(block, block)] = torch.linalg.svd(matrix, full_matrices=False)[2]
    return axes


def metrics_of(generator: Any, seed: int, n: int) -> Tensor:
    """(n, k, k) the products ``J^T J`` of the pictures' derivatives at so many latents."""
    from disentangle.latents.pullback import Pullback

    space = next(iter(generator.spaces.values()))
    latents = generator.sample_latents(n, generator=torch.Generator().manual_seed(seed))
    moves = torch.eye(space.size)[list(space.walk)]
    return torch.stack(list(Pullback(lambda z: generator(z), latents, moves, batch=96).metrics()))


def axes_of(generator: Any) -> dict[str, Tensor]:
    """Every choice of axes of a generator with normal latents; rows are axes."""
    from disentangle.latents import jacobian_axes

    blocks, walk = blocks_of(generator), list(next(iter(generator.spaces.values())).walk)
    jacobian = jacobian_axes(generator, samples=AXES_LATENTS, seed=AXES_SEED).vectors[:, walk].double()
    found = {
        "as trained": torch.eye(len(walk), dtype=torch.float64),
        "Jacobian": torch.linalg.qr(jacobian.mT)[0].mT,  # orthonormal to double precision
        "SVD": singular_axes(generator, blocks),
        **{f"random {seed}": random_axes(blocks, seed) for seed in range(RANDOM_TURNS)},
    }
    if len(blocks) > 1:
        mean = metrics_of(generator, AXES_SEED, AXES_LATENTS).mean(0)
        found["Jacobian, all together"] = torch.linalg.eigh(mean)[1].mT.flip(0)
    return found


# -------------------------------------------------------------------------------------------------------- measures


def cosines_of(metrics: Tensor, axes: Tensor, blocks: Blocks) -> dict[str, float]:
    """Squared cosines of the pictures' changes along the axes: of all pairs, within blocks and between them."""
    turned = axes @ metrics @ axes.mT
    length = turned.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    unit = torch.where(length > 0, length, 1.0)
    cosine = turned / (unit[:, :, None] * unit[:, None, :])
    k = len(axes)
    inside = torch.zeros(k, k, dtype=torch.bool)
    for block in blocks:
        inside[np.ix_(block, block)] = True
    other, mean = ~torch.eye(k, dtype=torch.bool), cosine.square().mean(0)
    result = {"cosine": float(mean[other].mean()), "log_cosine": math.log(float(mean[other].mean()))}
    if len(blocks) > 1:
        result["cosine_within"] = float(mean[other & inside].mean())
        result["cosine_between"] = float(mean[~inside].mean())
        result["absolute_within"] = float(cosine.abs().mean(0)[other & inside].mean())
    return result


def predictability_of(generator: Any, seeds: tuple[int, ...]) -> dict[str, Any]:
    """VP in per cent; the prior's own range where it is bounded."""
    from disentangle.evaluations.generation import make_pairs, variation_predictability

    extent = math.sqrt(3) if next(iter(generator.spaces.values())).uniform else 2.0
    pairs, labels = make_pairs(generator, PAIRS, extent=extent, seed=PAIRS_SEED)
    how = {"epochs": EPOCHS, "train_fraction": TRAIN_FRACTION, "test_every": EPOCHS}
    found = [100 * variation_predictability(pairs, labels, seed=seed, **how).value for seed in seeds]
    return {"vp": statistics.mean(found), "vp_each": found}


@dataclass(frozen=True)
class Shared:
    """What all scores are made with."""

    data: Any
    predictor: Any
    extractor: Any
    distance: Any
    reference: np.ndarray


@functools.cache
def shared_parts(folder: Path) -> Shared:
    """The factor predictor, the extractor, and features of real pictures, which are kept in ``folder``."""
    from disentangle.data import open_data
    from disentangle.evaluations.features import (
        PROTOCOLS,
        data_images,
        extract_features,
        load_distance,
        load_extractor,
    )
    from disentangle.evaluations.generation import train_factor_predictor
    from disentangle.files import write_bytes

    data, extractor = open_data(**DATA), load_extractor("efficientnet-lite0")
    kept = folder / "real.f32"
    if not kept.is_file():
        real = data_images(data, name="rooms", n=FD_REAL)
        features = extract_features(real, extractor, PROTOCOLS["clean"], cache=False)["features"]
        write_bytes(kept, features.astype("<f4").tobytes())
    reference = np.fromfile(kept, dtype="<f4").reshape(FD_REAL, -1)
    predictor = train_factor_predictor(data, steps=PREDICTOR_STEPS)
    return Shared(data, predictor, extractor, load_distance("efficientnet-lite0"), reference)


def named_factors(generator: Any, shared: Shared) -> tuple[Tensor, Tensor]:
    """(n, k) walked latents and the (n, 6) factors that the network names in their pictures."""
    walk = list(next(iter(generator.spaces.values())).walk)
    latents = generator.sample_latents(MIG_PICTURES, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        seen = torch.cat([shared.predictor.name_factors(generator(part)) for part in latents.split(256)])
    return latents[:, walk].double(), seen


def informativeness_of(codes: Tensor, seen: Tensor, *, forest: bool) -> dict[str, float]:
    """MIG and, of fewer pictures, DCI of codes; chance and ceiling of MIG."""
    from disentangle.evaluations.disentanglement import dci, mig

    gap = mig(codes.numpy(), seen.numpy())
    assert gap.chance is not None
    assert gap.ceiling is not None
    found = {"mig": gap.value, "mig_chance": gap.chance, "mig_ceiling": gap.ceiling}
    if forest:
        score = dci(
            codes[:DCI_PICTURES].numpy(), seen[:DCI_PICTURES].numpy(), estimator="random-forest", baselines=False
        )  # fmt: skip
        found |= {f"dci_{name}": float(score.parts[name]) for name in ("disentanglement", "completeness")}
        found["dci_informativeness"] = float(score.parts["informativeness_test"])
    return found


def weights_of(generator: Any) -> dict[str, list[float]]:
    """Of each projection's weight, what is left of its orthogonality without its row lengths, and these."""
    from disentangle.linalg import orthogonality_error

    found: dict[str, list[float]] = {
        "condition_number": [], "orthogonality_error": [], "angle_error": [], "row_length_squared": [],
        "importance": [],
    }  # fmt: skip
    for projection in generator.projections().values():
        weight = projection.parameter if projection.weight is None else projection.weight()
        matrix = weight.detach().flatten(1).double()
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
        values = torch.linalg.svdvals(matrix)
        lengths = matrix.square().sum(1)
        found["condition_number"].append(float(values[0] / values[-1]))
        found["orthogonality_error"].append(float(orthogonality_error(matrix)))
        found["angle_error"].append(float(orthogonality_error(matrix / lengths.sqrt()[:, None])))
        found["row_length_squared"].append(float(lengths.mean()))
        if projection.importance is not None:
            found["importance"] += projection.importance.detach().tolist()
    return found


def pictures_of(generator: Any, shared: Shared) -> dict[str, float]:
    """What no turn changes: distance to real pictures, path length, active coordinates."""
    from disentangle.evaluations.features import PROTOCOLS, extract_features, generated_images
    from disentangle.evaluations.generation import activeness, frechet_distance, path_length

    images = generated_images(generator, FD_GENERATED)
    features = extract_features(images, shared.extractor, PROTOCOLS["clean"], cache=False)["features"]
    length = path_length(
        generator, shared.distance, preset="torch-fidelity", n=PPL_PAIRS, epsilon=1e-3, ends="full", size=None
    )
    return {
        "fd": frechet_distance(features, shared.reference).value,
        "ppl": length.value,
        "active": activeness(generator).value,
    }


def scores_of(generator: Any, shared: Shared) -> dict[str, Any]:
    """Everything of one generator."""
    blocks = blocks_of(generator)
    identity = torch.eye(sum(map(len, blocks)), dtype=torch.float64)
    turns = next(iter(generator.spaces.values())).isotropic
    axes = axes_of(generator) if turns else {"as trained": identity}
    metrics = metrics_of(generator, COSINE_SEED, COSINE_LATENTS)
    codes, seen = named_factors(generator, shared)
    alike = bool((seen == seen[:1]).all())  # then nothing can be told, which is an exclusion
    found: dict[str, Any] = {}
    for name, rows in axes.items():
        own: dict[str, Any] = cosines_of(metrics, rows, blocks)
        single = name in ("SVD", "random 0")
        if single or name in ("as trained", "Jacobian"):
            own |= predictability_of(Turned(generator, rows), PREDICTOR_SEEDS[:1] if single else PREDICTOR_SEEDS)
        if not alike:
            own |= informativeness_of(codes @ rows.mT, seen, forest=name in ("as trained", "Jacobian", "random 0"))
        found[name] = own
    return {"axes": found, "weights": weights_of(generator), "pictures": pictures_of(generator, shared)}
