"""What the discriminators beside the generators of StyleGAN2 and StyleGAN3 share, which are read to train them further.

A format that reads one has a ``convert_discriminator``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Converted
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import PUBLISHED, taps_of

__all__ = ["GROUP", "one_filter", "placed", "sized"]

_BLOCK = r"b([1-9]\d{0,5})"
GROUP = 4  # pictures that are compared with each other where a file does not say


def sized(
    state: dict[str, Tensor], which: str, taps: tuple[float, ...], clamp: float | None = None, group: Any = GROUP,
    multiplier: float = 0.01,
) -> Converted:  # fmt: skip
    """With the sizes that are read off the tensors, and what the file says besides."""
    missing = [name for name in ("fromrgb.weight", "conv.weight", "out.weight") if name not in state]
    if missing:
        raise CheckpointError(f"its {which} lacks {missing[0]}; expected a residual discriminator of StyleGAN2.")
    depth = 1 + max((int(name.split(".")[1]) for name in state if name.startswith("blocks.")), default=-1)
    last = state["conv.weight"]
    widths = [state[f"blocks.{i}.conv1.bias"].shape[0] for i in range(depth)]
    first = state["fromrgb.weight"]
    embed, outputs = state.get("classes.embed.weight"), state["out.weight"].shape[0]
    if last.shape[1] - last.shape[0] not in (0, 1):
        raise CheckpointError(
            f"its {which} compares pictures by {last.shape[1] - last.shape[0]} maps; expected one at most."
        )
    if embed is None and outputs != 1:
        raise CheckpointError(
            f"its {which} has {outputs} outputs and no network of the classes, as StyleGAN2's had before ADA; expected "
            "ADA's, or one output."
        )
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << depth,
        "image_channels": first.shape[1],
        "channels": (*widths[::-1], first.shape[0]),
        "group": (last.shape[1] - last.shape[0]) * (group if isinstance(group, int) else GROUP),
        "resample_filter": taps,
        "clamp": clamp,
    }
    if embed is not None:
        layers = sum(re.fullmatch(r"classes\.layers\.\d+\.weight", name) is not None for name in state)
        config |= {"c_dim": embed.shape[1], "class_features": outputs, "class_layers": layers}
        config["class_multiplier"] = multiplier
    decisions = []
    if group is None:
        decisions.append(f"It compared all pictures of a batch with each other; here groups of {GROUP}.")
    return Converted(config, state, which, decisions)


def one_filter(kernels: Iterable[Any]) -> tuple[float, ...]:
    """The taps of all filters of a discriminator; the published ones where there is none."""
    found = {taps_of(kernel) for kernel in kernels if isinstance(kernel, Tensor)}
    if len(found) > 1:
        raise CheckpointError("its discriminator's layers differ in their smoothing filters; expected one for all.")
    return next(iter(found), PUBLISHED)


def placed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names by resolution, ``b64.conv0``, as ours: ``blocks.0.conv0`` for the first."""
    resolutions = [int(m[1]) for m in (re.fullmatch(rf"{_BLOCK}\.conv1\.weight", name) for name in state) if m]
    largest = max(resolutions, default=4)
    others = [name for name in state if "fromrgb" in name and not name.startswith(f"b{largest}.")]
    if others or any(f"b{resolution}.skip.weight" not in state for resolution in resolutions):
        raise CheckpointError("its discriminator has no shortcuts, or several inputs; expected a residual one.")

    def place(match: re.Match[str]) -> str:
        return f"blocks.{int(math.log2(largest / int(match[1])))}.{match[2]}"

    table: list[Row] = [
        (r".*resample_filter", DROP, None),
        (rf"b{largest}\.(fromrgb\..*)", r"\1", None),
        (r"b4\.((?:conv|fc|out)\..*)", r"\1", None),
        (r"mapping\.(embed\..*)", r"classes.\1", None),
        (r"mapping\.fc(\d+)\.(weight|bias)", r"classes.layers.\1.\2", None),
        (rf"{_BLOCK}\.((?:conv0|conv1|skip)\..*)", place, None),
    ]
    return rename(state, table)
