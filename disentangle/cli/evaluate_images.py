"""What ``disentangle evaluate`` does with a generator, or with images, against real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle.cli.destinations import check_default
from disentangle.cli.drawn_classes import as_in_reference, drawn_classes
from disentangle.cli.evaluate_codes import factor_data, metric_options
from disentangle.cli.model_source import ModelSource
from disentangle.cli.options import note
from disentangle.cli.progress import stages_progress
from disentangle.cli.results import deliver, print_json
from disentangle.cli.tables import print_scores

if TYPE_CHECKING:
    from disentangle.evaluations import Score
    from disentangle.evaluations.features import Extractor, ImageSet
    from disentangle.evaluations.generation import FeatureStatistics

__all__ = ["ImageMeasurement", "evaluate_images", "read_by"]

Progress = Callable[[str, int, int], None] | None
OF_SETS = ("fid", "kid", "is", "prdc", "fd-infinity", "kd-full")
OF_GENERATORS = ("ppl", "pipl", "vp", "activeness", "jacobian-orthogonality", "ima-contrast", "factor-predictor")
PUBLISHED = {"fd": "fid", "kd": "kid", "is": "is"}  # what a score may be called with the published weights


# Options that some of these scores read and others do not. A reference may say how often each class is drawn.
_OF_EXTRACTORS = {"reference", "extractor", "weights", "download"}
_BY_METRIC = {
    **{name: {*_OF_EXTRACTORS, "random_weights", "protocol", "fit", "on_bad_image", "num"} for name in OF_SETS},
    **{name: {"reference"} for name in OF_GENERATORS},
    **dict.fromkeys(("ppl", "pipl"), _OF_EXTRACTORS),
    "factor-predictor": {"data", "factors_file"},
}  # fmt: skip


def read_by(names: list[str]) -> dict[str, set[str]]:
    """Which options scores of images read: those asked for, together, and each other one."""
    read: dict[str, set[str]] = {",".join(names): set().union(*(_BY_METRIC[name] for name in names))}
    return read | {name: options for name, options in _BY_METRIC.items() if name not in names}


@dataclass(frozen=True)
class ImageMeasurement:
    """How to measure, and where the scores go: the options of the command."""

    metrics: str
    protocol: str
    fit: str
    on_bad_image: str | None
    changes: tuple[str, ...]
    extractor: str
    weights: Path | None
    download: bool
    random: bool
    label: int | None
    classes: str | None
    num: int
    seed: int
    device: str
    out: Path | None
    as_json: bool


def evaluate_images(
    ctx: click.Context, model: ModelSource | None, images: str | None, reference: str | None, data: str | None,
    data_dir: Path | None, factors_file: Path | None, how: ImageMeasurement,
) -> None:  # fmt: skip
    """Score a generator or a set of images, print and keep the scores."""
    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError, unknown_name
    from disentangle.evaluations import save_scores

    names = [name.strip() for name in how.metrics.split(",") if name.strip()]
    for name in names:
        if name not in OF_SETS + OF_GENERATORS:
            raise unknown_name("metric of images", name, OF_SETS + OF_GENERATORS)
    options = metric_options(how.changes)
    for name in options:
        if name not in names:
            raise ArgumentError(f"--set names {name!r}, which is not among the metrics {', '.join(names)}.")
    target = how.out
    named = None if model is None else model.model
    if target is None and named is not None and (Path(named) / "config.json").is_file():
        target = Path(named) / "image_scores.json"
        check_default(target)
    main = _join_processes(resolve_device(how.device).type == "cpu")
    generator = None
    if model is not None:
        generator = _Colour(model.open(resolve_device(how.device), "makes no images"))
    drawn = drawn_classes(ctx, generator, reference, data_dir, label=how.label, classes=how.classes)
    of_sets = [name for name in names if name in OF_SETS]
    if reference is not None and set(of_sets) <= {"is"} and not getattr(generator, "c_dim", 0):
        raise ArgumentError(f"--reference is not for {', '.join(names)}, which compare with nothing; leave it out.")
    scores: dict[str, Score] = {}
    with stages_progress(ctx) as progress:
        if of_sets:
            scores |= _score_sets(generator, model, images, reference, data_dir, of_sets, options, how, drawn, progress)
        for name in names:
            if name in OF_GENERATORS:
                given = {**drawn, **options.get(name, {})}
                scores[name] = _score_generator(
                    ctx, generator, name, given, data, data_dir, factors_file, how, progress
                )
    scores = {name: as_in_reference(score) if "class_shares" in drawn else score for name, score in scores.items()}
    if not main:
        return
    scored = images if model is None else str(model)
    subject = {"model": scored, "reference": reference, "num": how.num, "seed": how.seed}

    def keep() -> None:
        if target is not None:
            save_scores(target, scores, subject=subject)
            note(ctx, f"scores: {target}")

    def show() -> None:
        for compression in {score.settings.get("compression") for score in scores.values()} - {None}:
            note(ctx, f"Warning: {compression}.")
        if how.as_json:
            print_json({name: score.to_dict() for name, score in scores.items()})
            return
        for score in scores.values():
            if "warning" in score.settings:
                note(ctx, f"{score.name}: {score.settings['warning']}.")
        print_scores(scores, [], f"{scored}" + (f" against {reference}" if reference else ""))

    deliver(keep, show)


def _join_processes(cpu: bool) -> bool:
    """Set up what ``torchrun`` or ``accelerate launch`` has started; whether this process reports."""
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    from accelerate import PartialState

    return bool(PartialState(cpu=cpu).is_main_process)


class _Colour:
    """A generator whose images have three channels, as extractors take them; of transparent ones, over white."""

    def __init__(self, generator: Any) -> None:
        self.generator, self.spaces = generator, generator.spaces
        self.sample_latents = generator.sample_latents
        self.c_dim, self.label = getattr(generator, "c_dim", 0), getattr(generator, "label", None)

    def __call__(self, latents: Any, *, space: str | None = None, **options: Any) -> Any:
        from disentangle.colour import coloured

        return coloured(self.generator(latents, space=space, **options), "the generator made images")


def _score_sets(
    generator: Any, model: ModelSource | None, images: str | None, reference: str | None, data_dir: Path | None,
    names: list[str], options: dict[str, dict[str, Any]], how: ImageMeasurement, drawn: dict[str, Any],
    progress: Progress,
) -> dict[str, Score]:  # fmt: skip
    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError, unknown_name
    from disentangle.evaluations.classes import plan_classes
    from disentangle.evaluations.features import PROTOCOLS, extract_features, generated_images, load_extractor
    from disentangle.evaluations.generation import FeatureStatistics, inception_score

    if how.protocol not in PROTOCOLS:
        raise unknown_name("image protocol", how.protocol, PROTOCOLS)
    protocol = PROTOCOLS[how.protocol]
    if reference is None and names != ["is"]:
        raise ArgumentError(f"{names[0]} compares with real images: give --reference FOLDER, .zip, .npz or a data set.")
    device = resolve_device(how.device)
    extractor = load_extractor(
        how.extractor, weights=how.weights, allow_download=how.download, random=how.random, device=device
    )
    made: ImageSet | FeatureStatistics
    classes: dict[str, Any] = {}
    side = getattr(getattr(getattr(generator, "generator", None), "config", None), "resolution", None)
    if images is not None:
        made = _images_or_statistics(Path(images), how, side)
    else:
        made = generated_images(
            generator.generator, how.num, name=str(model), seed=how.seed, rounding=protocol.rounding, **drawn
        )
        classes = plan_classes(generator, how.num, **drawn).settings
    count = made.n if isinstance(made, FeatureStatistics) else made.count
    real = _reference(reference, data_dir, side, count or how.num, how) if reference is not None else None
    common: dict[str, Any] = {"device": device}

    def features(which: ImageSet, stage: str, logits: bool) -> dict[str, Any]:
        step = None if progress is None else lambda done, total: progress(stage, done, total)
        return extract_features(which, extractor, protocol, logits=logits, progress=step, **common)

    one: Any = {"features": made}
    if not isinstance(made, FeatureStatistics):
        one = features(made, "images", "is" in names)
    elif names != ["fid"]:
        raise ArgumentError("statistics in place of images have a Fréchet distance only: give --metrics fid.")
    two: Any = (
        real if real is None or isinstance(real, FeatureStatistics) else features(real, "reference", False)["features"]
    )
    scores: dict[str, Score] = {}
    for name in names:
        given = options.get(name, {})
        if name == "is":
            found = {"is": inception_score(one["logits"], seed=how.seed or 2020, extractor=extractor.name, **given)}
        else:
            found = _compare(name, one["features"], two, extractor, protocol.ddof, how.seed, given)
        scores |= {key: _described(score, extractor, how, made, real, classes) for key, score in found.items()}
    return scores


def _compare(
    name: str, one: Any, two: Any, extractor: Extractor, ddof: int, seed: int, given: dict[str, Any]
) -> dict[str, Score]:
    from disentangle.errors import ArgumentError
    from disentangle.evaluations.generation import (
        FeatureStatistics,
        frechet_distance,
        frechet_infinity,
        kernel_distance,
        precision_recall,
    )

    label = extractor.name
    if isinstance(two, FeatureStatistics) and name not in ("fid", "fd-infinity"):
        raise ArgumentError(f"{name} needs the real images themselves, not their statistics; give a folder or .zip.")
    if name == "fid":
        return {"fid": frechet_distance(one, two, extractor=label, **{"ddof": ddof, **given})}
    if name == "fd-infinity":
        return {name: frechet_infinity(one, two, extractor=label, seed=seed, **{"ddof": ddof, **given})}
    if name == "kd-full":
        return {name: kernel_distance(one, two, subsets=None, extractor=label, **given)}
    if name == "kid":
        fewest = min(len(one), len(two))
        score = kernel_distance(one, two, extractor=label, **{"subset_size": min(1000, fewest), **given})
        if fewest < 1000 and "subset_size" not in given:
            warning = f"{fewest} images, so its subsets have as many instead of the usual 1,000"
            score = replace(score, settings={**score.settings, "warning": warning})
        return {name: score}
    return dict(precision_recall(one, two, extractor=label, **given))


def _described(
    score: Score, extractor: Extractor, how: ImageMeasurement, made: ImageSet | FeatureStatistics,
    real: ImageSet | FeatureStatistics | None, classes: dict[str, Any],
) -> Score:  # fmt: skip
    """The score with what is known outside of it, and the name that it has earned."""
    from disentangle.evaluations.features import PROTOCOLS, ImageSet, unlike_compression

    family, _, rest = score.name.partition("/")
    published = extractor.has_published_weights and family in PUBLISHED
    own = (extractor.centre, extractor.spread)
    scale = PROTOCOLS[how.protocol].scale(*own)
    notes = [*getattr(made, "notes", ()), *getattr(real, "notes", ())]
    files = [part for part in (made, real) if isinstance(part, ImageSet)]
    compression = unlike_compression(*files) if len(files) == 2 and family != "is" else ""
    fits = " and ".join(sorted({part.fit for part in (made, real) if isinstance(part, ImageSet) and part.fit}))
    settings = {
        **score.settings, "protocol": how.protocol, "weights_sha256": extractor.sha256 or None, **classes,
        **({"fit": fits} if fits else {}), **({"compression": compression} if compression else {}),
        **({"notes": sorted(set(notes))} if notes else {}), **({"input_scale": list(scale)} if scale != own else {}),
    }  # fmt: skip
    return replace(score, name=PUBLISHED[family] if published else f"{family}/{rest}", settings=settings)


def _reference(
    reference: str, data_dir: Path | None, side: int | None, n: int, how: ImageMeasurement
) -> ImageSet | FeatureStatistics:
    """Real images, all of a folder; of a data set as many as were made, at their size; or precomputed statistics."""
    from disentangle.data import open_data
    from disentangle.evaluations.features import data_images

    if Path(reference).exists():
        return _images_or_statistics(Path(reference), how, side)
    further: Any = {} if how.on_bad_image is None else {"on_bad_image": how.on_bad_image}
    source = open_data(reference, data_dir=data_dir, resolution=side, **further)
    return data_images(source, name=reference, n=max(n, 2), seed=how.seed)


def _images_or_statistics(path: Path, how: ImageMeasurement, side: int | None) -> ImageSet | FeatureStatistics:
    """What is at a path: precomputed statistics (an .npz with mu), or images."""
    from disentangle.array_files import ArrayFile
    from disentangle.errors import ArgumentError
    from disentangle.evaluations.features import file_images
    from disentangle.evaluations.generation import FeatureStatistics

    fit = how.fit
    if path.suffix == ".npz" and path.is_file():
        with ArrayFile(path, what="images or statistics", fault="is not a readable array") as file:
            names = file.names
        if "mu" in names:
            return FeatureStatistics.load(path)
    if fit in ("squash", "pad") and side is None:
        raise ArgumentError(
            f"--fit {fit} brings {path} to a generator's size, and there is none; expected center-crop."
        )
    further: Any = {} if how.on_bad_image is None else {"on_bad_image": how.on_bad_image}
    return file_images(path, fit=fit, resolution=None if fit == "as-is" else side, **further)


def _score_generator(
    ctx: click.Context, generator: Any, name: str, given: dict[str, Any], data: str | None, data_dir: Path | None,
    factors_file: Path | None, how: ImageMeasurement, progress: Progress,
) -> Score:  # fmt: skip
    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError
    from disentangle.evaluations import generation
    from disentangle.evaluations.classes import plan_classes

    if generator is None:
        raise ArgumentError(f"{name} moves latents, so it needs a generator as MODEL, not images.")
    step = None if progress is None else lambda done, total: progress(name, done, total)
    device = resolve_device(how.device)
    if name in ("activeness", "jacobian-orthogonality", "ima-contrast"):
        return getattr(generation, name.replace("-", "_"))(generator, seed=how.seed, **given)
    if name == "vp":
        classes = {key: given.pop(key) for key in ("label", "class_shares") if key in given}
        of_pairs = {key: given.pop(key) for key in ("n", "extent") if key in given}
        pairs, labels = generation.make_pairs(generator, seed=how.seed, **of_pairs, **classes)
        score = generation.variation_predictability(pairs, labels, seed=how.seed, device=device, progress=step, **given)
        return replace(score, settings={**score.settings, **plan_classes(generator, len(pairs), **classes).settings})
    if name == "factor-predictor":
        known = _factor_data(ctx, generator, data, data_dir, factors_file)
        return generation.factor_predictor_mig(
            generator.generator, known, seed=how.seed, device=device, progress=step, **given
        )
    from disentangle.evaluations.features import load_distance

    offline = how.extractor == "efficientnet-lite0"
    distance = load_distance(
        how.extractor if offline else "lpips", weights=how.weights, allow_download=how.download, device=device
    )
    if name == "ppl":
        return generation.path_length(generator, distance, seed=how.seed, progress=step, **given)
    space, directions = _directions(generator)
    return generation.perceptual_perturbation(
        generator, distance, directions, seed=how.seed, progress=step, **{"space": space, **given}
    )


def _factor_data(
    ctx: click.Context, generator: Any, data: str | None, data_dir: Path | None, factors_file: Path | None
) -> Any:
    from disentangle.errors import ArgumentError

    if data is None:
        raise ArgumentError(
            "factor-predictor learns the factors of a data set: give --data, the one the model was trained on."
        )
    config = getattr(generator.generator, "config", None)
    side, channels = getattr(config, "resolution", None), getattr(config, "image_channels", None)
    found = factor_data(ctx, data, side, channels, data_dir, factors_file)
    return found.grid() if hasattr(found, "grid") else found


def _directions(generator: Any) -> tuple[str | None, dict[str, Any]]:
    """The space that the projections read, and of each its right singular vectors, largest first, as directions of
    the whole latent."""
    import torch

    found: dict[str, Any] = {}
    space = None
    for name, projection in generator.generator.projections().items():
        space, size = projection.space, generator.spaces[projection.space].size
        with torch.no_grad():
            rows = torch.linalg.svd(projection.matrix().double(), full_matrices=False).Vh
        vectors = torch.zeros(len(rows), size, dtype=torch.float32)
        vectors[:, list(projection.coordinates)] = rows.float().cpu()
        found[name] = vectors
    return space, found
