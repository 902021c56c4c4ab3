"""``disentangle quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.options import device_option, json_option, note, seed_option, setting
from disentangle.cli.results import deliver, print_json
from disentangle.cli.tables import print_scores

__all__ = ["command"]


@click.command("quickstart")
@output_option("--out", folder=True, default="quickstart", show_default=True, help="A folder.")
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
    from disentangle.devices import resolve_device
    from disentangle.quickstart import QuickstartResult, quickstart

    where = resolve_device(setting(ctx, "device", device, "auto"))
    found: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    made: list[QuickstartResult] = []

    def work() -> None:
        result = quickstart(
            out, device=where, seed=setting(ctx, "seed", seed, 0), progress=lambda line: note(ctx, f"{line} ..."),
            scored=lambda scores, names: found.append((scores, names)),
        )  # fmt: skip
        made.append(result)

    def show() -> None:
        for scores, names in found:
            if as_json:
                print_json({name: score.to_dict() for name, score in scores.items()})
            else:
                print_scores(scores, names, "vae-rooms on rooms")

    deliver(work, show)
    note(ctx, f"{made[0].seconds:.0f} s; open {made[0].report}")
