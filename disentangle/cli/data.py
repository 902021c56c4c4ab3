"""``disentangle data``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from disentangle.cli.destinations import PICTURES, output_option
from disentangle.cli.options import bad_image_option, json_option, note, seed_option, setting
from disentangle.cli.results import print_json, print_line, print_table

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Data sets: what there is, and what it looks like.

    \b
    Examples:
      disentangle data list
      disentangle data preview rooms --out rooms.png
    """


@command.command("list")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where files of named data sets lie.")
@json_option
def list_command(data_dir: Path | None, as_json: bool) -> None:
    """Every named data set, and whether it is on this machine."""
    from disentangle.data import list_data

    infos = list_data(data_dir=data_dir)
    if as_json:
        print_json([dataclasses.asdict(info) for info in infos])
        return
    rows = [[info.name, "yes" if info.available else "no", info.factors, info.image_shape] for info in infos]
    print_table(["name", "here", "factors or classes", "pictures"], rows, whole=1)
    print_line("`disentangle data show NAME` says where one comes from, its licence, and what to do to have it.")


@command.command("show")
@click.argument("name")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where files of named data sets lie.")
@json_option
def show(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Everything about the named data set NAME."""
    from disentangle.data import list_data
    from disentangle.errors import unknown_name

    infos = {info.name: info for info in list_data(data_dir=data_dir)}
    if name not in infos:
        raise unknown_name("data set", name, infos)
    record = dataclasses.asdict(infos[name])
    if as_json:
        print_json(record)
        return
    for field, value in record.items():
        print_line(f"{field:12} {value}")


@command.command("preview")
@click.argument("data")
@click.option("--resolution", type=click.IntRange(1, 4096), help="Side of the pictures in pixels.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where files of named data sets lie.")
@click.option("--download", is_flag=True, help="Download the data set if it is missing.")
@bad_image_option
@output_option("--out", suffixes=PICTURES, required=True, help="A picture file.")
@seed_option
@click.pass_context
def preview(
    ctx: click.Context, data: str, resolution: int | None, data_dir: Path | None, download: bool,
    on_bad_image: str | None, out: Path, seed: int | None,
) -> None:  # fmt: skip
    """A picture of DATA: one row a factor, walking its values; or random pictures, one row a class.

    \b
    Examples:
      disentangle data preview rooms --out rooms.png
      disentangle data preview fashion-mnist --out clothes.png
    """
    from disentangle.data import open_data
    from disentangle.viz.grid import save_grid
    from disentangle.viz.preview import preview_rows

    further = {} if on_bad_image is None else {"on_bad_image": on_bad_image}
    source = open_data(data, resolution=resolution, data_dir=data_dir, download=download, **further)
    rows, labels = preview_rows(source, seed=setting(ctx, "seed", seed, 0))
    save_grid(rows, out, row_labels=labels, image_range=(0, 1))
    note(ctx, f"{len(source)} pictures of {'x'.join(map(str, source.image_shape))}: {out}")
