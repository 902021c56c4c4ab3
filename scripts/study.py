"""What the studies in this folder share: seeds, means with their spread, tables of results, runs side by side."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["ROOT", "put_table", "seeds_of", "side_by_side", "spread", "surroundings"]

ROOT = Path(__file__).parents[1]


def seeds_of(text: str) -> list[int]:
    """``0-2`` as [0, 1, 2]."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation; of a single value the mean alone."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def put_table(name: str, text: str) -> None:
    """Write ``text`` between the marks of that name in docs/results.md."""
    from disentangle.files import write_text

    path = ROOT / "docs" / "results.md"
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    page = path.read_text(encoding="utf-8")
    write_text(
        path,
        re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL),
    )


def surroundings() -> dict[str, Any]:
    """Versions and device, as results have them."""
    from disentangle.io.runs import environment

    return {key: value for key, value in environment("cpu").items() if key != "command"}


def side_by_side(function: Callable[..., Any], calls: Sequence[Sequence[Any]], jobs: int) -> list[Any]:
    """``function(*call)`` for each call, so many processes of one thread at once."""
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=jobs)(delayed(_on_one_thread)(function, call) for call in calls))


def _on_one_thread(function: Callable[..., Any], call: Sequence[Any]) -> Any:
    torch.set_num_threads(1)
    return function(*call)
