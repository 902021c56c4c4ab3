"""``disentangle bake``."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle.cli.destinations import output_option
from disentangle.cli.options import note
from disentangle.cli.results import print_line

__all__ = ["command"]


@click.command("bake")
@click.argument("model")
@output_option(
    "--out", suffixes=(".safetensors", ".onnx"), required=True,
    help="The file to write: a model file (.safetensors), or one for other runtimes (.onnx).",
)  # fmt: skip
@click.pass_context
def command(ctx: click.Context, model: str, out: Path) -> None:
    """MODEL as a network of ordinary layers that gives the same outputs.

    Whitening goes into the convolution beside it, covariance pooling computes its root by products, and orthogonal
    weights and projections are plain ones. A file that ends with .onnx holds what onnxruntime and others run: of a
    classifier from images in [0, 1] to logits, of a generator from latents to images in [-1, 1]. A model with nothing
    to bake is written to ONNX as it is. The difference to MODEL is measured and printed.

    \b
    Examples:
      disentangle bake runs/dbn --out dbn.onnx
      disentangle bake runs/householder --out plain.safetensors
    """
    from disentangle.io import find_model, load, model_info, save
    from disentangle.io.onnx_file import check_onnx, export_onnx
    from disentangle.nn import bake
    from disentangle.nn.baking import is_bakeable

    to_onnx = out.suffix.lower() == ".onnx"
    if to_onnx:
        check_onnx()
    network = load(model)
    if is_bakeable(network) or not to_onnx:
        bake(network)
    if to_onnx:
        difference = export_onnx(network, out)
        if difference is None:
            note(ctx, "The file was not run: onnxruntime is not installed (pip install 'disentangle-toolkit[onnx]').")
        else:
            note(ctx, f"Run by onnxruntime it differs from {model} by {difference:.1g} of the largest output.")
    else:
        provenance = model_info(find_model(model)).get("provenance")
        save(network, out, provenance={**(provenance or {}), "baked_from": Path(model).name})
    print_line(str(out))
