"""Generators on the CPU: StyleGAN2, StyleGAN3's filtered leaky relu, and reading a large foreign pickle.

    python scripts/bench_generators.py [--part stylegan2] [--part filtered-lrelu] [--part pickle] [--threads 1]

The first two take turns with a plain transcription of the published formulation in one process; medians of CPU time
are compared, so that only ratios matter. The pickle is converted in a process of its own, whose largest resident
memory the system reports.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import subprocess
import sys
import tempfile
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from timing import medians
from torch import Tensor, nn

from disentangle.models import StyleGAN2, build_model

_MIB = 1 << 20


# ------------------------------------------------------------------------------------------------ StyleGAN2


def reference_layer(layer: nn.Module, x: Tensor, w: Tensor, *, torgb: bool) -> Tensor:
    """The published formulation: filters of each sample, modulated and demodulated, and one grouped convolution."""
    n, channels, height, width = x.shape
    styles = layer.affine(w) * (1 / math.sqrt(channels) if torgb else 1.0)
    filters = layer.weight[None] * styles[:, None, :, None, None]
    if not torgb:
        norms = (filters.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()
        filters = filters * norms[:, :, None, None, None]
    outputs, size = filters.shape[1], filters.shape[-1]
    x = x.reshape(1, n * channels, height, width)
    if not torgb and layer.up == 2:
        x = F.conv_transpose2d(
            x, filters.transpose(1, 2).reshape(n * channels, outputs, size, size), stride=2, groups=n
        )
        x = reference_filter(F.pad(x, (1, 1, 1, 1)))
    else:
        x = F.conv2d(x, filters.reshape(n * outputs, channels, size, size), padding=size // 2, groups=n)
    x = x.reshape(n, outputs, *x.shape[2:])
    if torgb:
        return x + layer.bias[:, None, None]
    x = x + layer.noise_const * layer.noise_strength
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * math.sqrt(2)


def reference_filter(x: Tensor) -> Tensor:
    """[1, 3, 3, 1] along both axes, with the gain of 4 that upsampling by two needs."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    return F.conv2d(x, torch.outer(taps, taps).repeat(x.shape[1], 1, 1, 1), groups=x.shape[1])


def reference_upsample(image: Tensor) -> Tensor:
    n, channels, height, width = image.shape
    stuffed = F.pad(image.reshape(n, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    return reference_filter(F.pad(stuffed.reshape(n, channels, 2 * height, 2 * width), (2, 1, 2, 1)))


def reference_stylegan2(model: StyleGAN2, z: Tensor) -> Tensor:
    w = model.mapping(z)
    x: Any = model.synthesis.b4.const[None].repeat(len(z), 1, 1, 1)
    image = None
    for index in range(len(model.config.channels)):
        block: Any = model.synthesis.get_submodule(f"b{4 * 2**index}")
        if index:
            x = reference_layer(block.conv0, x, w, torgb=False)
        x = reference_layer(block.conv1, x, w, torgb=False)
        painted = reference_layer(block.torgb, x, w, torgb=True)
        image = painted if image is None else reference_upsample(image) + painted
    assert image is not None
    return image


def bench_stylegan2(resolution: int, rounds: int) -> None:
    model: Any = build_model({"kind": "stylegan2", "resolution": resolution}, seed=0).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.1)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"StyleGAN2, {resolution} pixels, {count:.1f} M parameters, {rounds} rounds")
    for batch, aim in ((1, 1.3), (8, 2.2)):
        z = torch.randn(batch, 512, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected, found = reference_stylegan2(model, z), model(z)
            times = medians(
                {"reference": lambda z=z: reference_stylegan2(model, z), "own": lambda z=z: model(z)}, rounds
            )
        difference = float((found - expected).abs().max() / expected.std())
        ratio = times["reference"] / times["own"]
        print(
            f"  batch {batch}: reference {times['reference']:8.0f} ms, own {times['own']:8.0f} ms, {ratio:.2f} times "
            f"as fast (aim {aim}); largest difference {difference:.1e} standard deviations"
        )


# ------------------------------------------------------------------------------------------------ StyleGAN3


def bench_filtered_lrelu(rounds: int) -> None:
    from disentangle.models.ops.filtered_lrelu import filtered_lrelu, filtered_lrelu_reference

    generator = torch.Generator().manual_seed(0)
    taps = [torch.hann_window(14, periodic=False)[1:-1] * scale for scale in (2.0, 1.0)]
    taps = [t / t.sum() for t in taps]
    bias = torch.randn(64, generator=generator)
    for batch in (1, 4):
        x = torch.randn(batch, 64, 148, 148, generator=generator)
        arguments: dict[str, Any] = {
            "up_filter": taps[0], "down_filter": taps[1], "bias": bias, "up": 2, "down": 2, "padding": (10, 10, 10, 10),
            "clamp": 256.0,
        }  # fmt: skip
        layouts = {"contiguous": x, "channels_last": x.contiguous(memory_format=torch.channels_last)}
        with torch.inference_mode():
            functions = {"reference": lambda x=x, a=arguments: filtered_lrelu_reference(x, **a)}
            for name, laid in layouts.items():
                functions[f"own, {name}"] = lambda x=laid, a=arguments: filtered_lrelu(x, **a)
            times = medians(functions, rounds)
            difference = float((filtered_lrelu(x, **arguments) - functions["reference"]()).abs().max())
        print(f"filtered leaky relu, 64 channels, 148 pixels, 12 taps up 2, 12 taps down 2, batch {batch}")
        for name, value in times.items():
            print(f"  {name:20} {value:8.1f} ms, {times['reference'] / value:.2f} times as fast (aim 2)")
        print(f"  largest difference {difference:.1e}")


# ------------------------------------------------------------------------------------------------ a large pickle


class _Persistent:
    """An object that pickles as those of NVIDIA's container do: a call of their loader on a description."""

    def __init__(self, name: str, source: str, state: dict[str, Any]) -> None:
        self.description = {
            "type": "class", "version": 6, "module_src": source, "class_name": name, "state": state,
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.description,)


def write_network_pickle(path: Path, size: int) -> None:
    """A pickle of ``size`` bytes with a StyleGAN2 at 256 pixels, twice, and a discriminator that fills it up."""
    module = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(description: dict[str, Any]) -> None:
        raise AssertionError("the file's loader was called")

    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    sys.modules["torch_utils"], sys.modules[module.__name__] = types.ModuleType("torch_utils"), module
    source = "raise RuntimeError('the source text in the file was run')\n" + "#" * 30_000

    def persistent(part: nn.Module, name: str) -> _Persistent:
        state: dict[str, Any] = {"training": False, "_modules": OrderedDict(), "_buffers": OrderedDict(),
                                 "_parameters": OrderedDict(part._parameters)}  # fmt: skip
        state["_buffers"].update(part._buffers)
        for child_name, child in part._modules.items():
            if child is not None:
                state["_modules"][child_name] = persistent(child, type(child).__name__)
        attributes = {
            "activation": "lrelu", "conv_clamp": None, "architecture": "skip", "use_fp16": False,
            "resolution": getattr(part, "resolution", 0), "bias_gain": getattr(part, "multiplier", 1.0),
        }  # fmt: skip
        return _Persistent(name, source, {**state, **attributes})

    def generator(seed: int) -> _Persistent:
        model: Any = build_model({"kind": "stylegan2"}, seed=seed)
        network = persistent(model, "Generator")
        state = network.description["state"]
        state.update(img_resolution=256, img_channels=3, z_dim=512, w_dim=512, c_dim=0)
        state["_modules"]["mapping"].description["state"]["num_layers"] = 8
        return network

    networks: dict[str, Any] = {"G": generator(0), "G_ema": generator(1)}
    counted = io.BytesIO()
    pickle.dump(networks, counted, protocol=4)
    rest = max(4, size - counted.tell()) // 4
    del counted
    filling = {"_parameters": OrderedDict(weight=nn.Parameter(torch.randn(rest))), "_buffers": {}, "_modules": {}}
    networks["D"] = _Persistent("Discriminator", source, filling)
    with path.open("wb") as file:
        pickle.dump(networks, file, protocol=4)


_CONVERT = """
import json, pathlib, resource, sys, time
import torch
import disentangle.models
from disentangle.io.foreign import convert, read
torch.set_num_threads(int(sys.argv[3]))
def peak():
    # A process inherits the other number from the one that started it.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, begun, burnt = peak(), time.perf_counter(), time.process_time()
found = read(sys.argv[1]) if sys.argv[2] == "read" else convert(sys.argv[1], sys.argv[1] + ".safetensors")
print(json.dumps(dict(wall=time.perf_counter() - begun, cpu=time.process_time() - burnt, before=before, peak=peak(),
                      tensors=len(found.state))))
"""


def bench_pickle(size: int, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pkl"
        # In a process of its own, as all memory that writing takes would count for a child that is forked from here.
        write = "import sys; sys.path.insert(0, sys.argv[3]); from pathlib import Path; import bench_generators as b; "
        write += "b.write_network_pickle(Path(sys.argv[1]), int(sys.argv[2]))"
        scripts = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-c", write, str(path), str(size * _MIB), scripts], check=True)
        written = path.stat().st_size
        print(f"a network pickle of {written / _MIB:.0f} MiB, in a process of its own (aim: 20 s, 3 times its size)")
        for what in ("read", "convert"):
            command = [sys.executable, "-c", _CONVERT, str(path), what, str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            grown = found["peak"] - found["before"]
            print(
                f"  {what:8} {found['wall']:6.1f} s ({found['cpu']:.1f} s of CPU), {found['tensors']} tensors; largest "
                f"memory {found['peak'] / _MIB:.0f} MiB, {found['peak'] / written:.2f} times the file, of which "
                f"{grown / _MIB:.0f} MiB, {grown / written:.2f} times, came after the imports"
            )


PARTS = ("stylegan2", "filtered-lrelu", "pickle")


@click.command()
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--resolution", default=256, show_default=True, help="Of the StyleGAN2.")
@click.option("--size", default=300, show_default=True, help="Of the pickle, in MiB.")
def main(parts: tuple[str, ...], threads: int, rounds: int, resolution: int, size: int) -> None:
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, cpu, {threads} thread(s), float32, medians of CPU time")
    if "stylegan2" in parts:
        bench_stylegan2(resolution, rounds)
    if "filtered-lrelu" in parts:
        bench_filtered_lrelu(4 * rounds)
    if "pickle" in parts:
        bench_pickle(size, threads)


if __name__ == "__main__":
    main()
