"""What a model is, in one record: kind, spaces, sizes, projections, the run behind it and where it comes from."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from torch import nn

from disentangle.errors import DisentangleError
from disentangle.files import sha256_of
from disentangle.io.checkpoint import find_model, load, model_config, model_info
from disentangle.io.described import MODEL_FILE
from disentangle.json_files import read_json
from disentangle.models.base import needs_own_code
from disentangle.tensor_files import tensor_shapes

__all__ = ["is_run", "model_summary"]

# What commands and trainings leave in a run folder, beside the models.
_RESULTS = ("stats.jsonl", "scores.json", "image_scores.json", "confusion.png", "report.html", "samples")


def model_summary(model: str | os.PathLike[str]) -> dict[str, Any]:
    """A record of plain values about a bundled model, a run folder or a model file.

    Args:
        model: see :func:`find_model`.

    Returns:
        ``file``, ``bytes``, ``sha256``, ``kind``, ``resolution``, ``image_channels``, ``parameters``, ``spaces`` (name
        to shape and prior), ``projections`` (name to space and shape), ``config``; and where there are such
        ``classes``, ``built_by``, ``provenance`` and ``run`` (kind, data, steps done and in all, when it
        was written, its files).

    Raises:
        InputError, CheckpointError: as :func:`disentangle.load`.
    """
    path = find_model(model)
    header, config = model_info(path), model_config(path)
    fields = config.model_dump(mode="json")
    record: dict[str, Any] = {
        "file": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path), "kind": fields.pop("kind"),
        "resolution": fields.get("resolution"), "image_channels": fields.get("image_channels"),
    }  # fmt: skip
    if needs_own_code(config):
        shapes = tensor_shapes(path, what=MODEL_FILE.what)
        record |= {"parameters": sum(map(math.prod, shapes.values())), "built_by": fields["built_by"]}
        record |= {"spaces": _spaces_told(fields), "projections": {}}
    else:
        record |= _of_network(load(path))
    if fields.get("class_names"):
        record["classes"] = fields["class_names"]
    elif fields.get("c_dim"):
        record["classes"] = fields["c_dim"]
    record["config"] = fields
    if header.get("provenance"):
        record["provenance"] = header["provenance"]
    if is_run(model):
        record["run"] = _of_run(Path(model), path)
    return record


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is one that a training has written to."""
    place = Path(folder)
    return (place / "config.json").is_file() and (
        (place / "checkpoints").is_dir() or any((place / name).is_file() for name in ("environment.json", "latest"))
    )


def _of_network(network: nn.Module) -> dict[str, Any]:
    spaces = getattr(network, "spaces", {})
    projections = network.projections() if callable(getattr(network, "projections", None)) else {}  # type: ignore[operator]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "spaces": {name: {"shape": list(space.shape), "prior": space.prior} for name, space in spaces.items()},
        "projections": {
            name: {"space": projection.space, "shape": list(projection.matrix().shape)}
            for name, projection in projections.items()
        },
    }


def _spaces_told(fields: dict[str, Any]) -> dict[str, Any]:
    """Those of a wrapped module, whose code is not there, by its configuration."""
    shapes = {"z": [fields["z_dim"]]}
    if fields.get("w_dim"):
        shapes["w"] = [fields["w_dim"]]
        if fields.get("num_ws"):
            shapes["w+"] = [fields["num_ws"], fields["w_dim"]]
    told: dict[str, Any] = {name: {"shape": shape, "prior": "normal"} for name, shape in shapes.items()}
    told["z"]["prior"] = fields["prior"]
    return told


def _of_run(folder: Path, file: Path) -> dict[str, Any]:
    """What a run folder says of itself; what in it cannot be read is left out."""
    found: dict[str, Any] = {"folder": str(folder)}
    try:
        config = read_json(folder / "config.json", what="a run's configuration", error=DisentangleError)
    except (DisentangleError, OSError):
        config = {}
    if isinstance(config, dict):
        data = config.get("data")
        found |= {"kind": config.get("kind"), "data": data.get("name") if isinstance(data, dict) else None}
        found["steps_in_all"] = config.get("steps")
    name = file.parent.name
    found["steps"] = int(name) if name.isdecimal() else None
    found["written"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(file.stat().st_mtime))
    found["files"] = [result for result in _RESULTS if (folder / result).exists()]
    return json.loads(json.dumps(found, default=str))
