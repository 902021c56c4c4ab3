"""Small files that ask for the whole machine, by what they try."""

from __future__ import annotations

import bz2
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import torch
from hostile_files import FLOAT, PERSISTENT, array, laughs, legacy, storage, stored, tensor, text, whole, zipped
from sample_files import Persistent, module_state, persistent_pickle, pretending, torch_bytes

START, NEW = b"\x80\x04", b"cos\nsystem\n)\x81"
FOUR = struct.pack("<q", 4) + bytes(16)


def numbers(count: int, item: bytes = b"N") -> bytes:
    return b"".join(b"J" + struct.pack("<i", i) + item for i in range(count))


def often(call: bytes, arguments: bytes, count: int) -> bytes:
    """``call(*arguments)`` so many times, both written once, all results kept."""
    return START + arguments + b"q\x00" + b"0" + call + b"q\x01" + b"0(" + b"h\x01h\x00R" * count + b"t."


def lying_zip(name: str, packed: bytes, method: int, stated: int, more: dict[str, bytes] | None = None) -> bytes:
    """A zip whose part ``name`` states another unpacked size than it has."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for other, content in (more or {}).items():
            archive.writestr(other, content)
        archive.writestr(name, packed)
    content = held.getvalue()
    info = zipfile.ZipFile(io.BytesIO(content)).getinfo(name)
    found = bytearray(content)
    at = content.rindex(b"PK\x01\x02")
    for start, offset in ((info.header_offset, 8), (at, 10)):
        found[start + offset : start + offset + 2] = struct.pack("<H", method)
        sizes = start + offset + 10
        found[sizes : sizes + 8] = struct.pack("<II", len(packed), stated)
    return bytes(found)


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def laughing_tuples(levels: int = 60) -> bytes:
    """A tuple of two tuples of two ..., all shared; it stands on the stack."""
    return b")q\x00" + b"".join(
        b"0h" + bytes([i]) * 1 + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(levels)
    )


def overlapping() -> bytes:
    """A thousand parts that are the same bytes."""
    count, blob = 1000, bytes(200_000)
    pickled = b"\x80\x02(" + b"".join(storage(key=str(i), numel=50_000) for i in range(count)) + b"t."
    content = zipped(pickled, {"archive/data/0": blob})
    at = content.index(b"PK\x01\x02")
    entry = content[content.index(b"PK\x01\x02", at + 4) : content.rindex(b"PK\x05\x06")]
    entries = content[at : at + 46 + len("archive/data.pkl")] + b"".join(
        entry[:28] + struct.pack("<H", 13 + len(str(i))) + entry[30:46] + b"archive/data/" + str(i).encode()
        for i in range(count)
    )
    return (
        content[:at] + entries + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count + 1, count + 1, len(entries), at, 0)
    )


def shared_modules() -> bytes:
    """One module with many tensors in twenty thousand places with long names."""
    leaf = Persistent("Layer", module_state({f"w{i}": torch.ones(1) for i in range(50)}, {}, {}))
    middle = Persistent("Block", module_state({}, {}, {f"{'m' * 60}{i}": leaf for i in range(150)}))
    top = Persistent("Generator", module_state({}, {}, {f"{'t' * 60}{i}": middle for i in range(150)}))
    return persistent_pickle({"G_ema": top})


def long_prefix() -> bytes:
    """Modules in modules, each with a name of a megabyte, each named once and used often."""
    made = Persistent("Layer", module_state({"w": torch.ones(1)}, {}, {}))
    for level in range(20):
        made = Persistent("Block", module_state({}, {}, {chr(97 + level) * 30_000 + str(i): made for i in range(2)}))
    return persistent_pickle({"G_ema": made})


def shared_halves() -> bytes:
    half = torch.zeros(700_000, dtype=torch.float16)
    state = {"conv1.conv.modulation.bias": half, **{f"style.{i}.bias": half for i in range(1, 1000)}}
    return torch_bytes({"g_ema": state})


def shared_factors() -> bytes:
    factor = torch.rand(400, 400)
    state = {"conv1.conv.modulation.bias": torch.zeros(1)}
    for i in range(600):
        state[f"convs.{i}.conv.modulation.U"] = state[f"convs.{i}.conv.modulation.V"] = factor
    return torch_bytes({"g_ema": state})


def wide_basis() -> bytes:
    state = {
        "fc.weight": torch.zeros(1, 1),
        "to_rgb.0.1.weight": torch.zeros(1, 1, 1, 1),
        "blocks.0.projection.U": torch.zeros(20_000, 1),
    }
    return torch_bytes({"g_ema": {**state, "blocks.0.subspace_conv1.0.weight": torch.zeros(1, 1, 1, 1)}})


def tensorflow(**settings: Any) -> bytes:
    class Network:
        pass

    made = Network()
    variables = [
        ("synthesis/4x4/Const/const", torch.zeros(1, 1, 4, 4).numpy()),
        ("synthesis/4x4/Conv/mod_weight", torch.zeros(1, 1).numpy()),
    ]
    variables += [
        ("synthesis/4x4/Conv/weight", torch.zeros(1, 1, 1, 1).numpy()),
        ("mapping/Dense0/weight", torch.zeros(1, 1).numpy()),
        ("synthesis/4x4/ToRGB/bias", torch.zeros(3).numpy()),
    ]
    made.__dict__.update(version=4, name="x", static_kwargs=settings, components={}, variables=variables)
    with pretending("dnnlib.tflib.network", Network=Network):
        return pickle.dumps(made, 2)


def endless_taps() -> bytes:
    taps: Any = [1.0]
    for _ in range(25):
        taps = [taps, taps]
    return tensorflow(resample_kernel=taps)


def large_pictures() -> bytes:
    """A ProGAN of 2,048 pixels whose last layers make 3 GiB of 200 features, after layers of one."""
    state: dict[str, torch.Tensor] = {}
    for index in range(10):
        before, width = 1, 200 if index == 9 else 1
        state[f"layer{2 * index}.weight"] = torch.zeros(width, before, 3, 3) if index else torch.zeros(1, 1, 4, 4)
        state[f"layer{2 * index + 1}.weight"] = torch.zeros(width, width, 3, 3)
        state[f"output{index}.weight"] = torch.zeros(3, width, 1, 1)
        for name in (f"layer{2 * index}", f"layer{2 * index + 1}", f"output{index}"):
            state[f"{name}.bias"] = torch.zeros(state[f"{name}.weight"].shape[0])
    return torch_bytes(state)


def empty_tensors() -> bytes:
    """Sizes without numbers: noise of a gigabyte would be made of them."""
    state = {
        "netG": {"mapping.FC.0.module.weight": torch.zeros(2**30, 0), "mapping.FC.0.module.bias": torch.zeros(2**30, 0)}
    }
    return torch_bytes(state)


def conv_clamp() -> bytes:
    clamp: Any = (1,)
    for _ in range(40):
        clamp = (clamp, clamp)
    conv = Persistent("Layer", module_state({"weight": torch.zeros(1, 1, 3, 3)}, {}, {}, conv_clamp=clamp))
    block = Persistent("Block", module_state({"const": torch.zeros(1, 4, 4)}, {}, {"conv1": conv}, architecture=clamp))
    synthesis = Persistent("Synthesis", module_state({}, {}, {"b4": block}))
    return persistent_pickle({"G_ema": Persistent("Generator", module_state({}, {}, {"synthesis": synthesis}))})


def layer_names() -> bytes:
    """A StyleGAN3 whose list of layers names one layer half a million times."""
    inner = Persistent("Input", module_state({}, {"freqs": torch.zeros(1, 2)}, {}, size=[4, 4]))
    layer = Persistent("Layer", module_state({"weight": torch.zeros(1)}, {}, {}))
    synthesis = Persistent(
        "Synthesis", module_state({}, {}, {"input": inner, "L0": layer}, layer_names=["L0"] * 500_000)
    )
    return persistent_pickle({"G_ema": Persistent("Generator", module_state({}, {}, {"synthesis": synthesis}))})


def files() -> dict[str, Callable[[], bytes]]:
    """By what they try; those of the review first, then others of their kinds."""
    dtype = b"cnumpy\ndtype\n("
    big_raw = legacy(
        b"\x80\x02" + storage(numel=50_000) + b".", ["0"], struct.pack(">q", 50_000) + bytes(200_000)
    ).replace(b"\x88s.", b"\x89s.")
    raw = b"B" + struct.pack("<I", len(big_raw)) + big_raw
    shared = b"](" + b"N" * 100_000 + b"e"
    return {
        "type of an array that is endless to print": lambda: (
            START + laughing_tuples() + b"q\xf0" + b"0" + dtype + b"h\xf0tR."
        ),
        "class name that is endless to print": lambda: (
            START + laughing_tuples() + b"q\xf0" + b"0" + PERSISTENT + b"(}" + text("class_name") + b"h\xf0stR."
        ),
        "clamp that is endless to hash": conv_clamp,
        "bzip2 that lies about its size": lambda: lying_zip("a/data.pkl", bz2.compress(bytes(10**9)), 12, 100),
        "deflate that lies about its size": lambda: lying_zip("a/data.pkl", deflated(bytes(10**9)), 8, 100),
        "storage that lies about its size": lambda: lying_zip(
            "archive/data/0", deflated(bytes(10**9)), 8, 16, {"archive/data.pkl": b"\x80\x02" + storage() + b"."}
        ),
        "tuple that is endless to print as a key": lambda: START + laughing_tuples() + b"q\xf0" + b"0}h\xf0Ns.",
        "long tuple as a key": lambda: START + b"(" + text("x" * 100_000) + b"2" * 60 + b"tq\x00" + b"0}(h\x00Nu.",
        "state merged often": lambda: (
            START + b"}(" + numbers(20_000) + b"uq\x00h\x00\x86q\x01" + b"0(" + (NEW + b"h\x01b") * 8000 + b"t."
        ),
        "state merged in squares": lambda: (
            START
            + b"}q\x00"
            + b"0("
            + b"".join(b"h\x00M" + struct.pack("<H", i) + b"Ns0" + NEW + b"h\x00h\x00\x86b" for i in range(20_000))
            + b"t."
        ),
        "big-endian storages": lambda: often(b"ctorch.storage\n_load_from_bytes\n", raw + b"\x85", 50_000),
        "one module in many places": shared_modules,
        "long names of modules": long_prefix,
        "halves under many names": shared_halves,
        "factors under many names": shared_factors,
        "product of a wide basis": wide_basis,
        "taps without end": endless_taps,
        "bytes of a number": lambda: zipped(b"\x80\x02c__builtin__\nbytearray\n" + whole(8 * 10**9) + b"\x85R."),
        "pictures without end": large_pictures,
        "sizes without numbers": empty_tensors,
        "layers without end": layer_names,
        "overlapping parts": overlapping,
        "shape copied often": lambda: often(b"ctorch\nSize\n", shared + b"\x85", 100_000),
        "set made often": lambda: often(b"cbuiltins\nset\n", b"](" + numbers(50_000, b"") + b"e\x85", 50_000),
        "dictionary copied often": lambda: often(
            b"ccollections\nOrderedDict\n", b"}(" + numbers(50_000) + b"u\x85", 50_000
        ),
        "bytes encoded often": lambda: often(b"c_codecs\nencode\n", text("x" * 100_000) + b"\x85", 50_000),
        "call with many arguments often": lambda: (
            START + b"(" + b"N" * 100_000 + b"tq\x00" + b"0Nq\x01" + b"0(" + b"h\x01h\x00R" * 100_000 + b"t."
        ),
        "described object often": lambda: often(
            PERSISTENT, b"}(" + text("class_name") + text("G") + numbers(20_000) + b"u\x85", 100_000
        ),
        "name of a thousand letters often": lambda: (
            START + text("a" * 500) + b"q\x00" + text("b" * 490) + b"q\x01(" + b"h\x00h\x01\x93" * 300_000 + b"t."
        ),
        "keys of one hash": lambda: (
            START
            + b"}("
            + b"".join(
                b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little", signed=True) + b"N" for i in range(1, 100_000)
            )
            + b"u."
        ),
        "sets without members": lambda: START + b"(" + b"\x8f" * 2_500_000 + b"t.",
        "memo without end": lambda: START + b"N" + b"\x94" * 2_500_000 + b".",
        "tensors without end": lambda: (
            START
            + b"ctorch._utils\n_rebuild_tensor_v2\nq\x00"
            + b"0"
            + stored(legacy(b"\x80\x02" + storage() + b".", ["0"], FOUR))[2:-1]
            + b"q\x01(h\x01K\x00K\x04\x85K\x01\x85\x89}tq\x02"
            + b"0("
            + b"h\x00h\x02R" * 400_000
            + b"t."
        ),
        "array converted often": lambda: (
            START
            + b"B"
            + struct.pack("<I", 400_000)
            + bytes(400_000)
            + b"q\x00"
            + b"0"
            + dtype
            + text(">f4")
            + b"tRq\x01"
            + b"0cnumpy.core.numeric\n_frombuffer\nq\x02"
            + b"0(h\x00h\x01J"
            + struct.pack("<i", 100_000)
            + text("C")
            + b"tq\x03"
            + b"0("
            + b"h\x02h\x03R" * 50_000
            + b"t."
        ),
        "network that laughs": lambda: (
            START
            + laughs()[2:-1]
            + b"q\xf0"
            + b"0}("
            + text("g_ema")
            + b"h\xf0"
            + text("conv1.conv.modulation.bias")
            + b"h\xf0u."
        ),
        "deep tuples": lambda: START + b")" + b"\x85" * 2_500_000 + b".",
        "type found in torch": lambda: legacy(
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v3\n("
            + storage()
            + b"K\x00K\x01\x85K\x01\x85\x89}ctorch\nonnx\ntR.",
            ["0"],
            FOUR,
        ),
        "extended precision": lambda: array(dtype + text("f16") + b"\x89\x88tR"),
        "text of impossible letters": lambda: array(
            dtype + text("U4") + b"\x89\x88tR", shape=b"K\x01\x85", raw=b"C\x10" + b"\xff" * 16
        ),
        "nothing beside a known name": lambda: torch_bytes(
            {"main.0.weight": None, "layers.0.layers.conv.weight": torch.zeros(1)}
        ),
        "shape that overflows": lambda: legacy(
            b"\x80\x02" + tensor(storage(), 0, (2**47, 0, 2**47), (1, 1, 1)) + b".", ["0"], FOUR
        ),
        "array of a shape that overflows": lambda: array(
            FLOAT, shape=whole(2**47) + whole(2**47) + b"K\x00\x87", raw=b"C\x00"
        ),
    }
