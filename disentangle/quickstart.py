"""The main job on the bundled models: draw traversals, score disentanglement, write one report. Trains nothing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from disentangle.data import FactorDataset, open_data
from disentangle.errors import OutputError
from disentangle.evaluations import Score, encode_dataset, evaluate, save_scores
from disentangle.files import check_destination, check_folder
from disentangle.io import load, zoo_entry
from disentangle.latents import Directions, most_active, start_columns, traverse
from disentangle.linalg import weight_diagnostics
from disentangle.models import VAE, Generator
from disentangle.viz import animation_frames, save_animation, save_grid
from disentangle.viz.matrices import save_score_matrices
from disentangle.viz.report import Picture, Section, Table, save_report
from disentangle.viz.score_page import score_section
from disentangle.viz.stamps import maker_of

__all__ = ["QuickstartResult", "quickstart"]

VAE_NAME, GAN_NAME = "vae-rooms", "eigengan-rooms"
_MADE_BY = "disentangle quickstart"
_LEAD = f"Traversals and scores of the two bundled models, made by {_MADE_BY}."
_LEADS = (_LEAD, f"Traversals and scores of the two bundled models, made by `{_MADE_BY}`.")  # of before, too
POINTS = 6_000  # two thirds train the scores' predictors: enough for two digits in well under a minute


@dataclass(frozen=True)
class QuickstartResult:
    """What :func:`quickstart` made.

    Attributes:
        report: the HTML page.
        pictures: traversal grids and animations.
        scores: of the VAE.
        factor_names: of the data it is scored on.
        seconds: wall time.
    """

    report: Path
    pictures: list[Path]
    scores: dict[str, Score]
    factor_names: tuple[str, ...]
    seconds: float


def quickstart(
    out: str | os.PathLike[str] = "quickstart",
    *,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    scored: Callable[[dict[str, Score], tuple[str, ...]], None] | None = None,
) -> QuickstartResult:
    """Traversals of the bundled VAE and EigenGAN, scores of the VAE, and a report of both.

    Args:
        out: a folder; made if missing. Files of an earlier quickstart in it are replaced, no others.
        device: where the models run.
        seed: of the starting latents and the scored pictures.
        progress: called with a line before each part of the work.
        scored: called with the scores and the factors' names as soon as they are known, before they are written.

    Raises:
        OutputError: if the folder cannot be written, or holds a file of these names that another program made.
    """
    begun = time.perf_counter()
    out = Path(out)
    _check_folder(out)
    with tempfile.TemporaryDirectory() as drawing:  # of what is on the page alone
        report, pictures, scores, names = _make(out, Path(drawing), device, seed, progress, scored)
    return QuickstartResult(report, pictures, scores, names, time.perf_counter() - begun)


def _make(
    out: Path,
    drawing: Path,
    device: str | torch.device,
    seed: int,
    progress: Callable[[str], None] | None,
    scored: Callable[[dict[str, Score], tuple[str, ...]], None] | None,
) -> tuple[Path, list[Path], dict[str, Score], tuple[str, ...]]:
    say = progress or (lambda line: None)
    sections: list[Section] = []
    pictures: list[Path] = []

    vae = load(VAE_NAME, device=device)
    assert isinstance(vae, VAE)
    say(f"traversals of {VAE_NAME}")
    drawn = _draw(vae, most_active(vae, top=vae.config.latent_dim), out, VAE_NAME, seed)
    pictures += drawn
    sections.append(_traversal_section(VAE_NAME, drawn, f"disentangle traverse {VAE_NAME} --out walk.png"))

    entry = zoo_entry(VAE_NAME)
    say(f"scores of {VAE_NAME} on {entry.data}")
    dataset = open_data(entry.data, resolution=vae.config.resolution)
    assert isinstance(dataset, FactorDataset)
    codes, factors = encode_dataset(vae.encode, dataset, n=POINTS, seed=seed, device=device)
    scores = evaluate(codes, factors, seed=seed, n_jobs=-1)
    if scored is not None:
        scored(scores, dataset.factor_names)
    save_scores(
        out / "scores.json",
        scores,
        subject={"model": VAE_NAME, "data": entry.data, "num": POINTS, "seed": seed, "factors": dataset.factor_names},
    )
    matrices = out / "matrices.png"
    save_score_matrices(scores, dataset.factor_names, matrices)
    pictures.append(matrices)
    sections.append(
        score_section(
            scores,
            dataset.factor_names,
            f"Disentanglement of {VAE_NAME} on {entry.data}",
            folder=drawing,
            command=f"disentangle evaluate {VAE_NAME} --data {entry.data} --num {POINTS}",
        )
    )

    gan = load(GAN_NAME, device=device)
    assert isinstance(gan, Generator)
    say(f"traversals of {GAN_NAME}")
    drawn = _draw(gan, most_active(gan, top=10), out, GAN_NAME, seed)
    pictures += drawn
    section = _traversal_section(GAN_NAME, drawn, f"disentangle traverse {GAN_NAME} --active 10 --out walk.png")
    rows = [
        [name, "x".join(map(str, projection.parameter.shape)), *_orthogonality(projection.parameter)]
        for name, projection in gan.projections().items()
    ]
    heads = ["orthogonality error", "condition number", "error of rows of length one", "row length"]
    table = Table(["projection", "shape", *heads], rows)
    sections.append(Section(section.title, section.paragraphs, section.command, [table], section.pictures))

    report = out / "report.html"
    save_report(report, "Independent directions", sections, lead=_LEAD)
    return report, pictures, scores, dataset.factor_names


def _check_folder(out: Path) -> None:
    """Whether the files can be written, and replace none but those of an earlier quickstart."""
    check_folder(out)
    names = [f"{model}.{ending}" for model in (VAE_NAME, GAN_NAME) for ending in ("png", "webp")]
    names += ["scores.json", "matrices.png", "report.html"]
    for name in names:
        check_destination(out / name)
    there = [name for name in names if (out / name).exists()]
    if there and not _is_quickstart(out):
        raise OutputError(
            f"{out} holds {' and '.join(there[:3])}, not of `{_MADE_BY}`; give the name of a new folder as --out."
        )


def _is_quickstart(folder: Path) -> bool:
    if maker_of(folder / f"{VAE_NAME}.png") == _MADE_BY:  # the first that is written
        return True
    try:
        with (folder / "report.html").open(encoding="utf-8") as page:
            start = page.read(10_000)
            return any(lead in start for lead in _LEADS)
    except (OSError, ValueError):
        return False


def _draw(generator: Generator, directions: Directions, out: Path, name: str, seed: int) -> list[Path]:
    """A grid of one start, and an animation of three."""
    grid, animation = out / f"{name}.png", out / f"{name}.webp"
    steps, extent = 9, 2.5
    walks = traverse(generator, directions, seeds=range(seed, seed + 3), extent=extent, steps=2 * steps - 1)
    positions = torch.linspace(-extent, extent, steps)
    save_grid(
        walks[0, :, ::2], grid, row_labels=directions.labels,
        column_labels=[f"{position:+.1f}" for position in positions.tolist()], title=f"{name}, seed {seed}",
        marked=start_columns(generator, directions, positions, seeds=[seed]), made_by=_MADE_BY,
    )  # fmt: skip
    save_animation(animation_frames(walks, row_labels=directions.labels), animation)
    return [grid, animation]


def _traversal_section(name: str, pictures: list[Path], command: str) -> Section:
    entry = zoo_entry(name)
    return Section(
        f"Traversals of {name}",
        paragraphs=[
            entry.summary,
            "Each row moves along one direction and holds everything else; the most active directions come first.",
        ],
        command=command,
        pictures=[
            Picture(
                pictures[0],
                "One starting latent, left to right along each direction; framed: the picture nearest to the start.",
            ),
            Picture(pictures[1], "Three starting latents, all directions at once."),
        ],
    )


def _orthogonality(weight: Any) -> list[str]:
    matrix = weight.detach().flatten(1)
    return [f"{value:.3f}" for value in weight_diagnostics(matrix).values()]
