"""``disentangle models``."""

from __future__ import annotations

import click

from disentangle.cli.options import json_option
from disentangle.cli.results import print_json, print_line, print_table, print_text

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """The bundled models.

    \b
    Examples:
      disentangle models list
      disentangle models show vae-rooms
    """


@command.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Names, kinds and sizes."""
    from disentangle.io import zoo_entries

    entries = zoo_entries()
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    rows = [[entry.name, entry.kind, entry.data, f"{entry.bytes / 1000:.0f}", entry.summary] for entry in entries]
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
