"""``disentangle doctor``."""

from __future__ import annotations

from importlib import metadata, util
from typing import Any

import click

from disentangle.cli.options import json_option, setting
from disentangle.cli.results import print_json, print_line

__all__ = ["command"]

_OPTIONAL = {
    "h5py": "reads 3D Shapes (.h5): pip install 'disentangle-toolkit[data]'",
    "onnxscript": "bake --out FILE.onnx: pip install 'disentangle-toolkit[onnx]'",
    "tensorboard": "--tracker tensorboard: pip install 'disentangle-toolkit[tensorboard]'",
    "wandb": "--tracker wandb: pip install 'disentangle-toolkit[wandb]'",
}


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Versions, devices, optional packages and data on this machine; with --device before it, whether that one is.

    \b
    Examples:
      disentangle doctor
      disentangle doctor --json
    """
    import torch

    from disentangle.data import list_data
    from disentangle.devices import resolve_device
    from disentangle.io.runs import environment

    resolve_device(setting(ctx, "device", None, "auto"))
    cuda = torch.cuda.is_available()
    report: dict[str, Any] = {
        "environment": {k: v for k, v in environment("cpu").items() if k not in ("command", "device")},
        "packages": {name: metadata.version(name) for name in ("torchvision", "accelerate", "scikit-learn", "lpips")},
        "devices": ["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count() if cuda else 0))],
        "optional": {name: util.find_spec(name) is not None for name in _OPTIONAL},
        "data": {info.name: info.available for info in list_data()},
    }
    if as_json:
        print_json(report)
        return
    for name, value in {**report["environment"], **report["packages"]}.items():
        print_line(f"{name:14} {value}")
    print_line(f"{'devices':14} {', '.join(report['devices'])}")
    for name, present in report["optional"].items():
        print_line(f"{name:14} {'present' if present else 'absent: ' + _OPTIONAL[name]}")
    print_line(f"{'data here':14} {', '.join(name for name, here in report['data'].items() if here)}")
