"""Fine-tuning a small StyleGAN2 with the Householder projector: what it does to directions, and to pictures.

    python scripts/reproduce_projection.py base --seeds 0-2
    python scripts/reproduce_projection.py tune --seeds 0-2
    python scripts/reproduce_projection.py score --seeds 0-2
    python scripts/reproduce_projection.py report --seeds 0-2

Trains a StyleGAN2 of 64 pixels on the rendered rooms, one a seed; trains it 3 % longer with orthogonal projections of
rank 10 and, to compare, without; and measures the directions of the same layers in all of them: the singular vectors of
the affine weights (SeFa, a layer at a time) before, the projections' own axes after. Runs are continued where they
stopped. Writes evaluations/results/projection.json, a traversal in docs/images and the table in docs/results.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch
from study import ROOT, put_table, seeds_of, side_by_side, spread, surroundings

DATA = {"name": "rooms", "resolution": 64}
NETWORK = {
    "model.channels": (64, 64, 64, 32, 16), "model.z_dim": 64, "model.w_dim": 64, "model.mapping_layers": 4,
    "discriminator.channels": (64, 64, 64, 32, 16),
}  # fmt: skip
STEPS, SHARE, RANK = 5000, 0.03, 10
SCORING: dict[str, Any] = {
    "pipl_pairs": 400, "vp_pairs": 800, "vp_extent": 3.0, "vp_epochs": 15, "vp_train_fraction": 0.5,
    "jacobian_latents": 3, "fd_generated": 500, "fd_real": 2_000,
}  # fmt: skip
SCORES = "projection.json"
VARIANTS: dict[str, dict[str, Any] | None] = {
    "trained on": None,
    "Householder": {"kind": "householder", "rank": RANK},
}
COLUMNS = {
    "pipl": ("PIPL", 3), "vp": ("VP, %", 1), "jacobian": ("squared cosine of changes", 3), "fd": ("FD", 1),
}  # fmt: skip


class AlongDirections:
    """A generator driven by w and by how far each direction is followed in its own layer.

    A latent is w, and then one coordinate a direction, which is what its space walks.
    """

    def __init__(self, generator: Any, directions: Any) -> None:
        from disentangle.models import LatentSpace

        self.generator, self.vectors = generator, directions.vectors
        self.rows = [directions.rows(i)[0] for i in range(len(directions))]
        self.w_dim = self.vectors.shape[1]
        size = self.w_dim + len(self.vectors)
        walk = tuple(range(self.w_dim, size))
        self.spaces = {"d": LatentSpace("d", (size,), walk=walk, labels=directions.labels)}

    def sample_latents(self, n: int, *, space: Any = None, **options: Any) -> torch.Tensor:
        w = self.generator.sample_latents(n, space="w", **options)
        return torch.cat([w, torch.zeros(n, len(self.vectors))], dim=1)

    def __call__(self, latents: torch.Tensor, *, space: Any = None) -> torch.Tensor:
        w, along = latents.split([self.w_dim, len(self.vectors)], dim=1)
        moves = along[:, :, None] * self.vectors
        rows = torch.nn.functional.one_hot(torch.tensor(self.rows), self.generator.num_ws).to(w)
        ws = w[:, None] + torch.einsum("nkd,kr->nrd", moves, rows)
        images: torch.Tensor = self.generator(ws, space="w+", noise="const")
        return images


def directions_of(generator: Any) -> Any:
    """The ten directions of each layer that is projected, or would be."""
    from disentangle.latents import Directions, basis

    if generator.config.projection is not None:
        return basis(generator)
    vectors, labels, rows = [], [], []
    for layer in generator.style_layers():
        if layer.name in generator.default_projection_layers():
            found = torch.linalg.svd(layer.affine.matrix().double()).Vh[:RANK].float()
            vectors.append(found)
            labels += [f"{layer.name}, {i}" for i in range(RANK)]
            rows += [(layer.ws_index,)] * RANK
    return Directions(
        vectors=torch.cat(vectors), space="w", labels=tuple(labels), method="sefa", scale=torch.ones(len(labels)),
        layers=tuple(rows),
    )  # fmt: skip


def scores_of(generator: Any, shared: dict[str, Any]) -> dict[str, float]:
    from disentangle.evaluations.features import extract_features, generated_images
    from disentangle.evaluations.generation import (
        frechet_distance,
        jacobian_orthogonality,
        make_pairs,
        perceptual_perturbation,
        variation_predictability,
    )

    directions = directions_of(generator)
    driven = AlongDirections(generator, directions)
    layers: dict[str, list[torch.Tensor]] = {}
    for label, vector in zip(directions.labels, directions.vectors, strict=True):
        layers.setdefault(label.split(",")[0], []).append(vector)
    by_layer = {name: torch.stack(vectors) for name, vectors in layers.items()}
    pairs, moved = make_pairs(driven, SCORING["vp_pairs"], extent=SCORING["vp_extent"])
    images = generated_images(generator, SCORING["fd_generated"])
    features = extract_features(images, shared["extractor"], shared["protocol"], cache=False)["features"]
    how = {"epochs": SCORING["vp_epochs"], "train_fraction": SCORING["vp_train_fraction"]}
    how["test_every"] = SCORING["vp_epochs"]
    return {
        "pipl": perceptual_perturbation(
            generator, shared["distance"], by_layer, space="w", n=SCORING["pipl_pairs"], size=None
        ).value,
        "vp": 100 * variation_predictability(pairs, moved, **how).value,
        "jacobian": jacobian_orthogonality(driven, n=SCORING["jacobian_latents"]).value,
        "fd": frechet_distance(features, shared["reference"]).value,
    }


def shared_parts() -> dict[str, Any]:
    from disentangle.data import open_data
    from disentangle.evaluations.features import (
        PROTOCOLS,
        data_images,
        extract_features,
        load_distance,
        load_extractor,
    )

    extractor, protocol = load_extractor("efficientnet-lite0"), PROTOCOLS["clean"]
    real = data_images(open_data(**DATA), name="rooms", n=SCORING["fd_real"])
    return {
        "extractor": extractor,
        "protocol": protocol,
        "distance": load_distance("efficientnet-lite0"),
        "reference": extract_features(real, extractor, protocol)["features"],
    }


@click.group()
def main() -> None:
    """The study of the Householder projector."""


def options(function: Any) -> Any:
    for option in (
        click.option("--seeds", default="0-2", show_default=True, help="First-last."),
        click.option("--jobs", default=2, show_default=True, help="Runs side by side, one thread each."),
        click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/projection"), show_default=True),
    ):
        function = option(function)
    return function


def folders_of(seeds: str, runs: Path) -> dict[str, list[Path]]:
    """Run folders, one a seed: of the networks before, and of each variant of training on."""
    names = {"before": "base", **{name: name.replace(" ", "-") for name in VARIANTS}}
    return {name: [runs / f"{stem}-{seed}" for seed in seeds_of(seeds)] for name, stem in names.items()}


def train_one(seed: int, folder: Path) -> None:
    from disentangle.training import preset_config, train_gan

    fields: dict[str, Any] = {**NETWORK, "steps": STEPS, "seed": seed, "checkpoint_every": 500, "sample_every": 500}
    config: Any = preset_config("stylegan2", data=DATA, **fields)
    train_gan(config, folder, device="cpu")


@main.command()
@options
def base(seeds: str, jobs: int, runs: Path) -> None:
    """Train a StyleGAN2 for each seed."""
    side_by_side(train_one, list(zip(seeds_of(seeds), folders_of(seeds, runs)["before"], strict=True)), jobs)


def tune_one(projection: dict[str, Any] | None, seed: int, before: Path, folder: Path) -> None:
    from disentangle.training import finetune_config, train_gan

    steps = round(SHARE * STEPS)
    config = finetune_config(
        before, data={"name": "rooms"}, projection=projection, steps=steps, seed=seed, log_every=10,
        checkpoint_every=steps,
    )  # fmt: skip
    train_gan(config, folder, device="cpu")


def score_some(folders: list[Path]) -> None:
    import disentangle
    from disentangle.files import write_json

    shared = shared_parts()
    for folder in folders:
        found = scores_of(disentangle.load(folder), shared)
        write_json(folder / SCORES, found)
        print(f"{folder}: {found}", flush=True)


@main.command()
@options
def tune(seeds: str, jobs: int, runs: Path) -> None:
    """Train them further, with and without the projector."""
    folders = folders_of(seeds, runs)
    calls = [
        (projection, seed, before, folder)
        for name, projection in VARIANTS.items()
        for seed, before, folder in zip(seeds_of(seeds), folders["before"], folders[name], strict=True)
    ]
    side_by_side(tune_one, calls, jobs)


@main.command()
@options
def score(seeds: str, jobs: int, runs: Path) -> None:
    """Score what is trained and has no scores yet."""
    from disentangle.io.run_checkpoints import newest_checkpoint

    folders = [folder for several in folders_of(seeds, runs).values() for folder in several]
    waiting = [folder for folder in folders if newest_checkpoint(folder) and not (folder / SCORES).is_file()]
    side_by_side(score_some, [(waiting[i::jobs],) for i in range(jobs) if waiting[i::jobs]], jobs)


@main.command()
@options
def report(seeds: str, jobs: int, runs: Path) -> None:
    """Write the table, the traversal and the JSON of what is scored."""
    import disentangle
    from disentangle.files import write_json
    from disentangle.latents import traverse
    from disentangle.viz import save_grid

    paths = folders_of(seeds, runs)
    rows = {
        name: {
            folder.name: json.loads((folder / SCORES).read_text(encoding="utf-8"))
            for folder in folders
            if (folder / SCORES).is_file()
        }
        for name, folders in paths.items()
    }
    lines = ["| generator | runs | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |"]
    lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
    for name, row in rows.items():
        cells = [spread([r[column] for r in row.values()], digits) for column, (_, digits) in COLUMNS.items()]
        lines.append(f"| {name} | {len(row)} | " + " | ".join(cells) + " |")
    put_table("projection", "\n".join(lines))
    tuned: Any = disentangle.load(paths["Householder"][0])
    found = directions_of(tuned)
    grid = traverse(tuned, found.select([0, 1, 2, 10, 11, 12, 20, 21]), seeds=[3], steps=9, extent=4.0)
    save_grid(grid[0], ROOT / "docs" / "images" / "projection-traversal.png")
    record = {
        "command": f"python scripts/reproduce_projection.py base|tune|score|report --seeds {seeds}",
        "environment": surroundings(),
        "network": NETWORK,
        "steps": {"base": STEPS, "further": round(SHARE * STEPS)},
        "scoring": SCORING,
        "scores": rows,
    }
    write_json(ROOT / "evaluations" / "results" / "projection.json", record)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
