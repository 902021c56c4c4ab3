"""Speed of the procedural data sets: pictures per CPU-second and the one-off cost of their tables.

    python scripts/bench_data.py
    python scripts/bench_data.py --resolution 128 --batch 64 --seconds 5

CPU time of this process, so that other work on the machine matters less; one thread unless told otherwise.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import click
import torch

from disentangle.data import rooms, sprites
from disentangle.data.factors import FactorDataset

ROW = "{:<10}{:>12}  {:<10}{:>24}{:>16}"


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def pictures_per_cpu_second(data: FactorDataset, batch: int, seconds: float) -> float:
    """Median over calls of ``render`` on random factors, for about ``seconds`` of CPU time."""
    generator = torch.Generator().manual_seed(0)
    costs: list[float] = []
    while sum(costs) < seconds or len(costs) < 3:
        factors = data.sample(batch, generator)
        costs.append(cpu_seconds(partial(data.render, factors)))
    return batch / statistics.median(costs)


@click.command()
@click.option("--resolution", "resolutions", type=int, multiple=True, default=(32, 64), show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=256, show_default=True, help="Pictures a call.")
@click.option("--seconds", type=float, default=2.0, show_default=True, help="CPU time of each measurement.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def main(resolutions: tuple[int, ...], batch: int, seconds: float, threads: int) -> None:
    """Print a table of rendering speeds and build times."""
    torch.set_num_threads(threads)
    click.echo(ROW.format("data set", "resolution", "method", "images per CPU-second", "build seconds"))
    for resolution in resolutions:
        cases: list[tuple[str, str, Callable[[], FactorDataset]]] = [
            ("sprites", "atlas", partial(sprites.Sprites, resolution, method="atlas")),
            ("sprites", "direct", partial(sprites.Sprites, resolution, method="direct")),
            ("rooms", "maps", partial(rooms.Rooms, resolution)),
        ]
        for name, method, make in cases:
            sprites.atlas.cache_clear()
            rooms.scenes.cache_clear()
            data = make()
            first = data.sample(1, torch.Generator().manual_seed(0))
            build = cpu_seconds(partial(data.render, first))
            speed = pictures_per_cpu_second(data, batch, seconds)
            click.echo(ROW.format(name, f"{resolution}x{resolution}", method, f"{speed:,.0f}", f"{build:.2f}"))


if __name__ == "__main__":
    main()
