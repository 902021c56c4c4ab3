"""Networks as ONNX files, which other runtimes read."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from disentangle._version import __version__
from disentangle.errors import InputError, reason
from disentangle.files import write_atomically

__all__ = ["check_onnx", "export_onnx"]

_PACKAGES = ("onnx", "onnxscript")  # what torch's exporter needs
_LARGEST = 2**31 - 2**24  # bytes of weights in one file, by the format
_BATCH = 2  # one would be taken for a constant


def check_onnx() -> None:
    """Whether networks can be exported here.

    Raises:
        InputError: if a package is missing.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"Writing ONNX needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'disentangle-toolkit[onnx]'."
        )


@torch.no_grad()
def export_onnx(model: nn.Module, path: str | os.PathLike[str]) -> float | None:
    """Write one of the toolkit's networks to an ONNX file, and run that.

    A classifier takes ``images`` (n, C, H, W) in [0, 1] and gives ``logits`` (n, classes); the names of the classes are
    in the file's metadata. A generator takes ``latents`` (n, ...) of its default space and gives ``images``
    (n, C, H, W) in [-1, 1]. Any n will do.

    Args:
        model: in evaluation mode, with nothing left to :func:`disentangle.nn.bake`.
        path: of the file; written atomically, weights included.

    Returns:
        The largest difference to the model on two inputs, as a share of the largest output; None where onnxruntime,
        which runs the file, is not installed.

    Raises:
        InputError: if a package is missing, the network is too large for one file, or cannot be exported.
        OutputError: if the file cannot be written.
    """
    check_onnx()
    config: Any = getattr(model, "config", None)
    names = getattr(config, "class_names", ())
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    if size > _LARGEST:
        raise InputError(f"The network has {size / 1e9:.1f} GB of weights; one ONNX file holds 2 GB at most.")
    given, called = _example(model, config)
    shapes = ({0: torch.export.Dim("n", min=1, max=2**20)},)
    kind = type(model).__name__
    try:
        with _quietly():
            program: Any = torch.onnx.export(
                model,
                (given,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[called[0]],
                output_names=[called[1]],
                verbose=False,
            )
    except Exception as error:  # whatever the exporter meets in a network
        raise InputError(f"A {kind} cannot be exported to ONNX ({reason(error)}).") from error
    notes = {"producer": f"disentangle {__version__}", "kind": getattr(config, "kind", kind)}
    if names:
        notes["class_names"] = json.dumps(list(names))
    program.model.metadata_props.update(notes)
    write_atomically(path, lambda temporary: program.save(str(temporary), external_data=False))
    return _difference(model, given, Path(path))


def _example(model: nn.Module, config: Any) -> tuple[Tensor, tuple[str, str]]:
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    if hasattr(config, "class_names"):
        side = config.resolution
        images = torch.rand(_BATCH, config.image_channels, side, side, generator=generator)
        return images.to(weight), ("images", "logits")
    if not hasattr(model, "sample_latents"):
        raise InputError(f"A {type(model).__name__} is neither a classifier nor a generator; expected one of the two.")
    if getattr(model, "c_dim", 0):
        raise InputError("A generator with classes takes more than a latent, which is not exported; expected another.")
    latents: Tensor = model.sample_latents(_BATCH, generator=generator)  # type: ignore[operator]
    return latents.to(weight), ("latents", "images")


def _difference(model: nn.Module, given: Tensor, path: Path) -> float | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: given.cpu().numpy()})
    expected = model(given).cpu()
    scale = float(expected.abs().max()) or 1.0
    return float((torch.from_numpy(found) - expected).abs().max()) / scale


@contextlib.contextmanager
def _quietly() -> Any:
    """The exporter tells its steps and its deprecations on both streams."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
