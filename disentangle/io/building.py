"""A network of the configuration in a file, which is never built larger than the tensors that the file holds.

A header of two hundred bytes can ask for a million layers. So the configuration is first built without memory, on
torch's "meta" device, by a construction that ends as soon as it makes more tensors than the file has; names and shapes
are compared; only then is anything made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from disentangle.errors import CheckpointError, DisentangleError, reason
from disentangle.models.base import misfits
from disentangle.tensor_files import FLOATS
from disentangle.text import shown

__all__ = ["build_as_described", "check_fits", "fill"]

_LARGEST = 65_536  # of any whole number in a configuration: no size, width or depth in use comes near it
_REGISTRATIONS = 8  # of parameters, buffers and modules for each tensor of the file
_SPARE = 2_000  # registrations that any file may cause
_DRAWS = {
    "normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_",
}  # fmt: skip
_SCALINGS = {"mul", "div", "true_divide"}  # by a number


class _TooMany(Exception):
    """More tensors are being made than the file has."""


def build_as_described(
    build: Callable[[], nn.Module], config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, lead: str
) -> nn.Module:
    """The network that ``build`` makes, with the given tensors.

    Args:
        build: makes the network of ``config`` with any weights; called under ``torch.device("meta")``, and once more
            where something of the network stands in no file.
        config: the fields that ``build`` makes it of, as plain containers.
        tensors: of the file, by the names of the network's ``state_dict``; the network takes them as they are.
        lead: the beginning of messages, which half a sentence follows, as in "a.safetensors cannot be built:".

    Raises:
        CheckpointError: if a number in the configuration is out of all bounds, the construction fails, or tensors are
            missing, unexpected or of other shapes.
    """
    for key, number in _whole_numbers(config):
        if abs(number) > _LARGEST:
            written = f"{number:,}" if number.bit_length() < 200 else shown(number)
            raise CheckpointError(f"{lead} its {key} is {written}; expected at most {_LARGEST:,}, it is damaged.")
    try:
        with torch.device("meta"), _WithoutValues(), _bounded(_REGISTRATIONS * len(tensors) + _SPARE):
            network = build()
    except _TooMany:
        raise CheckpointError(
            f"{lead} its configuration asks for far more layers than the {len(tensors)} tensors in it are; it is "
            "damaged."
        ) from None
    except DisentangleError as error:
        text = str(error)
        raise CheckpointError(f"{lead} {text[:1].lower()}{text[1:]}") from error
    except Exception as error:  # whatever numbers that fit nothing make torch raise
        raise CheckpointError(f"{lead} its configuration makes no network ({reason(error)}); it is damaged.") from error
    check_fits(network, tensors, lead=lead)
    network.load_state_dict(dict(tensors), assign=True)
    if any(tensor.is_meta for tensor in _all_tensors(network)):  # something that no file holds
        network = build()
        network.load_state_dict(dict(tensors), assign=True)
    return network


def check_fits(network: nn.Module, tensors: Mapping[str, Tensor], *, lead: str) -> None:
    """Whether the tensors of a file are those of a network: their names, shapes and kinds of numbers.

    Raises:
        CheckpointError: if not, with the first that differ after ``lead``.
    """
    expected = network.state_dict()
    problems = misfits(tensors, expected)
    problems += [
        f"{name} is of {tensor.dtype}, expected {'floating point' if floating else 'whole numbers'}"
        for name, tensor in tensors.items()
        if name in expected and (floating := expected[name].is_floating_point()) != (tensor.dtype in FLOATS)
    ]
    if problems:
        listed = "; ".join(shown(problem, most=200) for problem in problems[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise CheckpointError(f"{lead} its tensors do not fit the network: {listed}{more}.")


def fill(network: nn.Module, tensors: Mapping[str, Tensor], *, lead: str) -> None:
    """Give a network that exists the tensors of a file, in its own types and on its own device.

    Raises:
        CheckpointError: if they do not fit.
    """
    check_fits(network, tensors, lead=lead)
    network.load_state_dict(dict(tensors))


class _WithoutValues(TorchFunctionMode):
    """Draws and scalings on meta by their shapes alone: torch would load its compiler, for seconds."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "arange" and given.keys() <= {"dtype"} and all(isinstance(number, int) for number in args):
            return torch.empty(len(range(*args)), dtype=given.get("dtype", torch.int64), device="meta")
        target = args[0] if args else given.get("tensor")
        if isinstance(target, Tensor) and target.is_meta and target.is_floating_point():
            if name in _DRAWS:
                return target
            if name in _SCALINGS and not given and all(isinstance(value, (int, float)) for value in args[1:]):
                return torch.empty_like(target)
        return func(*args, **given)


@contextmanager
def _bounded(most: int) -> Iterator[None]:
    """Ends this thread's construction of modules once it has registered ``most`` parameters, buffers and modules."""
    left, thread = most, threading.get_ident()

    def count(*_: object) -> None:
        nonlocal left
        if threading.get_ident() == thread:
            left -= 1
            if left < 0:
                raise _TooMany

    handles = [
        torch_module.register_module_parameter_registration_hook(count),
        torch_module.register_module_buffer_registration_hook(count),
        torch_module.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _whole_numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number in nested containers, with the dotted path of its field."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{shown(name)}".lstrip("."), part) for name, part in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(key, part) for part in value]
        elif isinstance(value, int):
            yield key, value


def _all_tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
    for module in network.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))
