"""Small valid files of every container."""

from __future__ import annotations

import io
import pickle
import sys
import types
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch


@contextmanager
def pretending(path: str, **members: Any) -> Iterator[None]:
    """A module of this name while a file is written, so that pickle takes its members for real."""
    made = []
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            made.append(name)
    for name, member in members.items():
        member.__module__, member.__qualname__ = path, name
        setattr(sys.modules[path], name, member)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("only its name is used")


class Persistent:
    """An object in NVIDIA's container: class name, source text, attributes."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> Any:
        meta = {
            "type": "class", "version": 6, "module_src": "raise SystemExit('this text was run')",
            "class_name": self.class_name, "state": self.state,
        }  # fmt: skip
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def persistent_pickle(data: Any, *, protocol: int = 4) -> bytes:
    """The bytes of a pickle with :class:`Persistent` objects in it."""
    with pretending("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj):
        return pickle.dumps(data, protocol)


def module_state(
    parameters: dict[str, Any], buffers: dict[str, Any], modules: dict[str, Any], **attributes: Any
) -> dict[str, Any]:
    """The attributes of a torch module."""
    return {
        "training": False, "_parameters": OrderedDict(parameters), "_buffers": OrderedDict(buffers),
        "_non_persistent_buffers_set": set(), "_backward_hooks": OrderedDict(), "_modules": OrderedDict(modules),
        **attributes,
    }  # fmt: skip


def torch_bytes(data: Any, *, zipped: bool = True) -> bytes:
    held = io.BytesIO()
    torch.save(data, held, _use_new_zipfile_serialization=zipped)
    return held.getvalue()


@cache
def content() -> dict[str, Any]:
    """Something of everything that checkpoints hold."""
    return {
        "g_ema": OrderedDict(
            weight=torch.arange(12.0).reshape(3, 4), half=torch.ones(3, dtype=torch.float16), flag=torch.tensor(True),
            view=torch.arange(20.0)[3:15].reshape(4, 3).t(), count=torch.tensor(7), brain=torch.ones(2).bfloat16(),
            nothing=torch.zeros(0, 3), parameter=torch.nn.Parameter(torch.ones(2)),
        ),
        "args": Namespace(size=64, name="x"),
        "numbers": [1, -2, 3.5, None, True, "text", b"bytes", (1, 2), {3}, 2**70],
    }  # fmt: skip


@cache
def samples() -> dict[str, bytes]:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "big": np.arange(3, dtype=">i4"), "f": np.float64(2.5)}
    network = Persistent(
        "Generator", module_state({"weight": torch.ones(2, 2)}, {"w_avg": torch.zeros(2)}, {}, z_dim=2)
    )
    return {
        "zip.pt": torch_bytes(content()),
        "older.pt": torch_bytes(content(), zipped=False),
        "arrays.pkl": pickle.dumps(arrays, 4),
        "arrays2.pkl": pickle.dumps(arrays, 2),
        "nvidia.pkl": persistent_pickle({"G": None, "G_ema": network}),
    }
