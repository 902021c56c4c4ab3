"""``disentangle convert``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.options import json_option, note, refuse_unread
from disentangle.cli.results import print_json, print_text
from disentangle.text import escaped, shown

__all__ = ["command", "listing"]


_READ = {"--list": set[str](), "--out": {"discriminator", "weights", "order", "rank", "fused", "given"}}


@click.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@output_option("--out", suffixes=(".safetensors",), help="The model file to write, .safetensors.")
@output_option("--discriminator", suffixes=(".safetensors",), help="A second file, for the discriminator in FILE.")
@click.option("--list", "only_list", is_flag=True, help="Show what FILE holds and write nothing.")
@click.option("--weights", help="Which of the networks in it, by its name or path there; default: the averaged one.")
@click.option(
    "--order", type=click.Choice(["auto", "usv", "vsu"]), default="auto", show_default=True,
    help="Of HouseholderGAN's factors; auto is what FILE shows, else usv.",
)  # fmt: skip
@click.option("--rank", type=click.IntRange(1), help="Of HouseholderGAN's layers, where the file does not say.")
@click.option(
    "--fused", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
    help="Whether genforce's ProGAN and StyleGAN upsampled by transposed convolutions, which the file does not say.",
)  # fmt: skip
@click.option(
    "--set-source", "given", multiple=True, metavar="NAME=VALUE",
    help="A setting of the software that wrote FILE, which FILE does not state; --list shows which there are.",
)  # fmt: skip
@click.option(
    "--allow", type=click.IntRange(1, 1000), default=1, show_default=True, metavar="N",
    help="Let FILE take N times the memory and hold N times the objects that a file of its size may.",
)  # fmt: skip
@json_option
@click.pass_context
def command(
    ctx: click.Context, file: Path, out: Path | None, discriminator: Path | None, only_list: bool, weights: str | None,
    order: Literal["auto", "usv", "vsu"], rank: int | None, fused: Literal["auto", "always", "never"],
    given: tuple[str, ...], allow: int, as_json: bool,
) -> None:  # fmt: skip
    """Another project's checkpoint FILE (or folder) as a model file of the toolkit.

    Known are StyleGAN2-ADA and StyleGAN3 pickles, TensorFlow's of ProGAN, StyleGAN and StyleGAN2, rosinality's
    StyleGAN2, HouseholderGAN, genforce and SeFa, pytorch_GAN_zoo, pro_gan_pytorch, EigenGAN, simple GANs, DCGANs, fully
    connected GANs, and folders of pythae and diffusers. The format is told by the content, wherever in it a network
    lies. No code in the file is run, and none can be.

    \b
    Examples:
      disentangle convert ffhq.pkl --out ffhq.safetensors
      disentangle convert checkpoint.pt --list
      disentangle convert checkpoint.pt --out model.safetensors --set-source lr_mlp=0.1
      disentangle convert faces.pkl --out faces.safetensors --discriminator faces-d.safetensors
    """
    if only_list == (out is not None):
        raise click.UsageError("Give --out FILE to convert, or --list to look.")
    refuse_unread(ctx, "--list" if only_list else "--out", _READ)
    settings = _settings(given)
    from disentangle.errors import CheckpointError
    from disentangle.io import foreign

    limits = foreign.Limits().times(allow)
    if only_list:
        held = foreign.contents(file, limits=limits)
        if as_json:
            print_json(held)
        else:
            print_text(listing(held))
        no_tensors = not any(part["tensors"] for part in held["parts"])
        if held["format"] is None and (held["container"] == "directory" or no_tensors):
            raise CheckpointError(
                f"{file} holds no network of a known format; `disentangle convert --help` and docs/checkpoints.md list "
                "what is known."
            )
        return
    assert out is not None
    found = foreign.convert(
        file, out, weights=weights, order=order, rank=rank, fused=fused, settings=settings, discriminator=discriminator,
        limits=limits,
    )  # fmt: skip
    if as_json:
        print_json({**found.provenance, "kind": found.config["kind"], "out": str(out)})
        return
    note(ctx, f"{file.name} is {found.format}; taken: {escaped(found.provenance['which'])}.")
    for decision in found.provenance["decisions"]:
        note(ctx, escaped(decision))
    numbers = sum(tensor.numel() for tensor in found.state.values())
    note(ctx, f"{found.config['kind']}, {len(found.state)} tensors, {numbers:,} numbers: {out}")
    if discriminator is not None:
        note(ctx, f"its discriminator: {discriminator}")


def _settings(given: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip() or name.strip() in found:
            raise click.UsageError(f"--set-source is {shown(text, most=60)}; expected NAME=VALUE, each name once.")
        found[name.strip()] = value.strip()
    return found


def _written(default: Any) -> str:
    return "..." if default == () else str(default).lower()


def listing(held: dict[str, Any]) -> str:
    """What a file holds, line by line; names are the file's, so they are shown and not printed as they are."""
    lines = [f"container: {held['container']}", f"format: {held['format'] or 'not known'}"]
    lines += [
        f"--set-source {name}={_written(setting['default'])}: {setting['meaning']}"
        for name, setting in held["settings"].items()
    ]
    listed: dict[tuple[tuple[str, tuple[int, ...]], ...], str] = {}
    for part in held["parts"]:
        shapes = part["tensors"].values()
        numbers = sum(math.prod(shape) for shape in shapes)
        size = f", {len(shapes)} tensors, {numbers:,} numbers" if shapes else ""
        name = shown(part["name"]) or "(the whole file)"
        lines.append(f"{name}: {shown(part['class'])}{size}")
        if not shapes:
            continue
        content = tuple((key, tuple(shape)) for key, shape in part["tensors"].items())
        same = listed.setdefault(content, name)
        if same is not name:
            lines.append(f"  the same names and shapes as {same}")
            continue
        lines += [f"  {shown(key)}: {' x '.join(map(str, shape)) or 'one number'}" for key, shape in content]
    return "\n".join(lines)
