"""``disentangle directions``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.model_source import ModelSource, model_argument
from disentangle.cli.options import (
    IntegerRanges,
    NameOf,
    device_option,
    json_option,
    note,
    refuse_unread,
    seed_option,
    setting,
)
from disentangle.cli.progress import counting_progress
from disentangle.cli.results import print_json, print_line
from disentangle.text import quoted, shown

__all__ = ["command", "distance"]

_LONGEST = 200  # characters of a direction's name


@click.group("directions")
def command() -> None:
    """Find directions of a generator's latent space, name them, look at them.

    \b
    Examples:
      disentangle directions find ffhq.safetensors --method sefa --layers 2-5 --top 10 --out dirs.safetensors
      disentangle directions label dirs.safetensors 0=age 3=smile
    """


@command.command("find")
@model_argument
@click.option(
    "--method",
    type=NameOf("disentangle.latents", "METHODS", "method"),
    default="sefa",
    show_default=True,
    help="sefa, ganspace, basis, style-channel, random, jacobian, or one that another package adds.",
)
@click.option("--space", help="Latent space: z, w, w+ or s; default: w where there is one.")
@click.option("--layers", type=IntegerRanges(), help="Rows of w+, e.g. 2-5: whose weights count, and which move.")
@click.option("--top", type=click.IntRange(1), help="How many, strongest first; default: 10; basis, jacobian: all.")
@click.option("--normalize/--no-normalize", default=True, show_default=True, help="sefa: all style channels alike.")
@click.option("--torgb/--no-torgb", default=None, help="sefa: count the layers to the image; default: the last one.")
@click.option("--module", "layer", help="ganspace: analyse this module's activations, e.g. synthesis.b16.conv1.")
@click.option("--label", type=click.IntRange(0), help="ganspace, style-channel, jacobian: class of the pictures.")
@click.option(
    "--samples",
    type=click.IntRange(1, 10**7),
    help="Latents drawn; default: 10,000 of ganspace, 1,000 of style-channel, 64 of jacobian.",
)
@click.option(
    "--metric", type=click.Choice(["pixels", "lpips", "efficientnet-lite0"]), help="jacobian: in which pictures change."
)
@click.option("--weights", type=click.Path(path_type=Path), help="jacobian: the metric's weight file, or its folder.")
@click.option("--criterion", type=click.Choice(["mean", "joint"]), help="jacobian: of the latents' metrics.")
@click.option("--at", type=click.Path(path_type=Path), help="jacobian: at these latents, by `disentangle invert`.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Pictures made at once; default: 50 of ganspace, 32 of style-channel, 64 of jacobian.",
)
@click.option("--from", "source", type=click.Path(path_type=Path), help="ganspace: read an .npz file of the authors'.")
@click.option("--seeds", type=IntegerRanges(), default="0,1", show_default=True, help="style-channel: pictures tried.")
@output_option("--out", suffixes=(".safetensors",), required=True, help="The file of directions, .safetensors.")
@seed_option
@device_option
@click.pass_context
def find(
    ctx: click.Context, model: ModelSource, method: str, space: str | None, layers: tuple[int, ...] | None,
    top: int | None, normalize: bool, torgb: bool | None, layer: str | None, label: int | None,
    samples: int | None, metric: str | None, weights: Path | None, criterion: str | None, at: Path | None,
    batch: int | None, source: Path | None, seeds: tuple[int, ...], out: Path, seed: int | None, device: str | None,
) -> None:  # fmt: skip
    """Directions of MODEL by one method.

    sefa: from the weights alone (normalised as its authors do; --no-normalize as rosinality's and HouseholderGAN's code
    does). ganspace: principal axes of w, or of a module's activations. basis: the model's own axes; of HouseholderGAN
    those of its orthogonal layers. style-channel: single channels of s. random: something to compare with. jacobian:
    along which a small step changes the pictures most, on average or at one latent (--at), of each part of a latent
    that is read apart, as the blocks of an EigenGAN; `disentangle turn` makes them the model's own.

    \b
    Examples:
      disentangle directions find ffhq.safetensors --layers 2-5 --top 10 --out dirs.safetensors
      disentangle directions find eigengan-rooms --method jacobian --out axes.safetensors
    """
    from disentangle.latents import METHODS, Latents, find_directions

    given = {
        "space": space, "layers": layers, "top": top, "normalize": normalize, "torgb": torgb, "layer": layer,
        "label": label, "samples": samples, "metric": metric, "criterion": criterion, "at": at, "batch": batch,
        "source": source, "seeds": seeds, "seed": setting(ctx, "seed", seed, 0),
    }  # fmt: skip
    way, read = _ways(METHODS, method, [name for name, value in given.items() if value is not None])
    refuse_unread(ctx, way, read)
    from disentangle.devices import resolve_device
    from disentangle.errors import ArgumentError

    if weights is not None and metric in (None, "pixels"):
        raise click.UsageError("--weights is for --metric lpips or efficientnet-lite0; leave it out.")
    where = resolve_device(setting(ctx, "device", device, "auto"))
    generator = model.open(where, "has no latent space")
    if label is not None and not getattr(generator, "c_dim", 0):
        raise ArgumentError(f"--label is {label}, but {model} has no classes; leave it out.")
    options: dict[str, Any] = {name: given[name] for name in read[way] if given.get(name) is not None}
    if metric is not None:
        options["metric"] = distance(metric, weights, where)
    if at is not None:
        options["at"] = Latents.load(at)
    with counting_progress(ctx, method) as progress:
        if "progress" in read[way]:
            options["progress"] = progress
        found = find_directions(generator, method, **options)
    found.save(out)
    note(ctx, f"{len(found)} directions in {found.space} by {method}: {out}")


def _ways(methods: Mapping[str, Any], method: str, given: list[str]) -> tuple[str, dict[str, set[str]]]:
    """The way in which the command is used, and of each way the options that are read then."""
    read, way = {}, f"--method {method}"
    for name, each in methods.items():
        for option in ("", *each.replaces):
            written = {"": "", "source": " --from"}.get(option, f" --{option}")
            key = f"--method {name}{written}"
            names = set(each.read_with([option])) - (set() if option else set(each.replaces))
            read[key] = {"layers", *names, *(["weights"] if "metric" in names else [])}
            if name == method and option in given:
                way = key
    return way, read


def distance(name: str | None, weights: Path | None, device: Any) -> Any:
    """The distance of pictures by a name, on a device."""
    if name in (None, "pixels"):
        return "pixels"
    from disentangle.evaluations.features import load_distance

    return load_distance(name, weights=weights, device=device)


@command.command("label")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, required=True)
@output_option("--out", suffixes=(".safetensors",), in_place="file", help="Another file; default: FILE itself.")
@click.pass_context
def label(ctx: click.Context, file: Path, names: tuple[str, ...], out: Path | None) -> None:
    """Name directions of FILE, each as POSITION=NAME.

    \b
    Examples:
      disentangle directions label dirs.safetensors 0=age 3="open mouth"
      disentangle directions label dirs.safetensors 1=pose --out named.safetensors
    """
    from disentangle.files import check_destination
    from disentangle.latents import Directions

    check_destination(out or file)
    found = Directions.load(file)
    named: set[int] = set()
    for name in names:
        position, equals, text = name.partition("=")
        if not equals or not (position.strip().isdecimal() and len(position) < 10) or not text or len(text) > _LONGEST:
            raise click.UsageError(
                f"{quoted(name)} is no name; expected POSITION=NAME of up to {_LONGEST} characters, e.g. 0=age."
            )
        if int(position) in named:
            raise click.UsageError(f"Direction {int(position)} is named twice; give each one name.")
        named.add(int(position))
        found = found.label(int(position), text)
    found.save(out or file)
    note(ctx, f"{len(names)} names: {out or file}")


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """What FILE holds: names, space, layers, scale.

    \b
    Examples:
      disentangle directions show dirs.safetensors
      disentangle directions show dirs.safetensors --json
    """
    from disentangle.latents import Directions

    found = Directions.load(file)
    rows = [
        {"position": i, "label": found.labels[i], "scale": float(found.scale[i]), "layers": found.rows(i)}
        | ({} if found.eigenvalues is None else {"eigenvalue": float(found.eigenvalues[i])})
        for i in range(len(found))
    ]
    if as_json:
        size = found.vectors.shape[1]
        print_json(
            {
                "method": found.method, "space": found.space, "size": size, "generator": found.generator,
                "note": found.note, "directions": rows,
            }
        )  # fmt: skip
        return
    of = "" if found.generator is None else f", of {found.generator}"
    print_line(f"{found.method}, in {found.space} ({found.vectors.shape[1]} numbers){of}")
    for i, name in enumerate(found.labels):
        moved = found.rows(i)
        where = "all layers" if moved is None else "layers " + ",".join(map(str, moved))
        value = "" if found.eigenvalues is None else f"  eigenvalue {float(found.eigenvalues[i]):8.3g}"
        print_line(f"{i:4d}  {shown(name):24}  scale {float(found.scale[i]):8.3g}{value}  {where}")
