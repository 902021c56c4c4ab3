"""``disentangle quickstart``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from disentangle.cli.options import device_option, json_option, note, seed_option, setting

__all__ = ["command"]


@click.command("quickstart")
@click.option("--out", type=click.Path(path_type=Path), default="quickstart", show_default=True, help="A folder.")
@json_option
@seed_option
@device_option
@click.pass_context
def command(ctx: click.Context, out: Path, as_json: bool, seed: int | None, device: str | None) -> None:
    """Traversals and scores of the bundled models, in one report; trains nothing.

    \b
    Examples:
      disentangle quickstart
      disentangle quickstart --out /tmp/first --seed 3
    """
    from disentangle.quickstart import quickstart
    from disentangle.training import resolve_device

    where = resolve_device(setting(ctx, "device", device, "auto"))
    result = quickstart(
        out, device=where, seed=setting(ctx, "seed", seed, 0), progress=lambda line: note(ctx, f"{line} ...")
    )
    if as_json:
        click.echo(json.dumps({name: score.to_dict() for name, score in result.scores.items()}, indent=2))
    else:
        from disentangle.cli.tables import print_scores

        print_scores(result.scores, result.factor_names, "vae-rooms on rooms")
    note(ctx, f"{result.seconds:.0f} s; open {result.report}")
