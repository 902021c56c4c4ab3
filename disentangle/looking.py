"""Looking at a network without changing it: whatever draws, measures or encodes runs the user's module in here."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["looking_at", "looks_at", "modules_of", "own_randomness"]

P = ParamSpec("P")
R = TypeVar("R")

_DEPTH = 5  # wrappers in wrappers that are opened in search of a module
_LONG = 1_000  # entries of a container that are opened
_MOST = 10_000  # objects that are looked into for one subject

_looked_at: ContextVar[frozenset[int]] = ContextVar("looked_at", default=frozenset())


@contextlib.contextmanager
def looking_at(*subjects: Any, seed: Any = 0) -> Iterator[None]:
    """Every module behind ``subjects`` in evaluation mode; afterwards, also after an exception, all is as it was.

    What is put back: the mode of each sub-module by itself (parts may have been frozen), which tensors are its
    parameters and buffers and the numbers in them (running statistics, and what a ``forward`` counts or renormalises),
    ``requires_grad`` and ``.grad``, and the global random states of torch, CUDA, numpy and Python. Meanwhile these
    start from ``seed``, so that a module which draws noise in its ``forward`` gives the same twice. Modes are set one
    by one, since a network may have made ``eval()`` and ``train()`` something of its own.

    The parameters and buffers are kept as a copy on their device until the end.

    Args:
        *subjects: modules, or anything that :func:`modules_of` finds some behind; those without any are fine.
        seed: of what the modules draw by themselves: a number, or any value with a ``repr``.
    """
    outer = _looked_at.get()
    modules = [module for subject in subjects for module in modules_of(subject) if id(module) not in outer]
    kept = _Kept(modules)
    token = _looked_at.set(outer | {id(module) for module in modules})
    try:
        with own_randomness(seed):
            for module in modules:
                module.training = False
            yield
    finally:
        _looked_at.reset(token)
        kept.put_back()


def looks_at(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: the function runs while :func:`looking_at` its arguments of these names, seeded by its ``seed``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def looking(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given: dict[str, Any] | None = signature.bind(*args, **kwargs).arguments
            except TypeError:  # arguments that are missing or too many: Python's own words name the function
                given = None
            if given is None:
                return function(*args, **kwargs)
            with looking_at(*(given.get(name) for name in names), seed=given.get("seed", 0)):
                return function(*args, **kwargs)

        return looking

    return decorate


@contextlib.contextmanager
def own_randomness(seed: Any = 0) -> Iterator[None]:
    """The global random states of torch, CUDA, numpy and Python start from ``seed`` and are put back afterwards."""
    import torch

    cuda = torch.cuda.is_initialized()  # one that is not has drawn nothing, and is not to be woken
    states = (torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else [])
    others = (np.random.get_state(), random.getstate())  # noqa: NPY002
    if type(seed) is not int or not -(2**63) <= seed < 2**64:  # what torch takes
        seed = int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:4], "big")
    try:
        # not torch.manual_seed, which would also seed a CUDA that wakes up later
        for stream in (torch.default_generator, *(torch.cuda.default_generators if cuda else ())):
            stream.manual_seed(seed)
        with contextlib.suppress(TypeError):  # a bit generator of the user's that cannot be seeded anew
            np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(states[0])
        if cuda:
            torch.cuda.set_rng_state_all(states[1])
        elif torch.cuda.is_initialized():
            for stream in torch.cuda.default_generators:
                stream.manual_seed(stream.initial_seed())
        np.random.set_state(others[0])  # noqa: NPY002
        random.setstate(others[1])


def modules_of(subject: Any) -> list[nn.Module]:
    """Every module behind ``subject``, sub-modules included, each once.

    A module itself; the object of a bound method; what a wrapper, a ``functools.partial`` or a container holds; what a
    plain function has in its closure and its defaults, or names among the globals.
    """
    from torch import Tensor, nn

    # what holds no module, or holds all of a package
    empty = (type(None), str, bytes, int, float, complex, type, ModuleType, Tensor, np.ndarray)
    found: dict[int, nn.Module] = {}
    seen: dict[int, Any] = {}  # with the objects, so that no id is given to another one meanwhile
    waiting = [(subject, 0)]
    while waiting and len(seen) < _MOST:
        thing, depth = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, nn.Module):
            own = list(thing.modules())
            found |= {id(module): module for module in own}
            parts = [part for module in own for part in _unregistered(module)]
        else:
            parts = _parts(thing)
        if depth < _DEPTH:
            waiting += [(part, depth + 1) for part in parts if not isinstance(part, empty)]
    return list(found.values())


def _unregistered(module: nn.Module) -> list[Any]:
    """What a module holds beside its sub-modules, which might be a module in a list."""
    return [value for name, value in vars(module).items() if name not in _REGISTERED]


def _parts(thing: Any) -> list[Any]:
    """What an object may run when it is called."""
    if isinstance(thing, Mapping):
        return list(itertools.islice(thing.values(), _LONG))
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(itertools.islice(thing, _LONG))
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
        defaults = [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
        named = [thing.__globals__[name] for name in _names(thing.__code__) if name in thing.__globals__]
        return [*cells, *defaults, *named, *vars(thing).values()]
    slots = [name for kind in type(thing).__mro__ for name in _slots(kind)]
    held = [getattr(thing, name) for name in (*slots, "module", "__self__") if _has(thing, name)]
    run = next((vars(kind)["__call__"] for kind in type(thing).__mro__ if "__call__" in vars(kind)), None)
    return [*held, *getattr(thing, "__dict__", {}).values(), *([run] if isinstance(run, FunctionType) else [])]


# what a module's own ``modules()`` has shown already, and hooks, which are somebody else's
_REGISTERED = frozenset(
    (
        "_modules", "_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
        "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
    )
)  # fmt: skip


def _names(code: CodeType) -> set[str]:
    """Global names that a function's code uses, and that of the functions inside it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _has(thing: Any, name: str) -> bool:
    try:
        return hasattr(thing, name)
    except Exception:  # a property of the user's may raise anything
        return False


class _Kept:
    """The state of modules, to be put back."""

    def __init__(self, modules: list[nn.Module]) -> None:
        import torch

        self.modes = [(module, module.training) for module in modules]
        # a scripted module lends its tensors anew at every look, so that only their numbers can be kept
        self.tables: list[tuple[Any, dict[str, Any]]] = [
            (table, dict(table))
            for module in modules
            if not isinstance(module, torch.jit.ScriptModule)
            for table in (module._parameters, module._buffers)
        ]
        tensors: dict[int, Tensor] = {}
        for module in modules:
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and not torch.nn.parameter.is_lazy(tensor):
                    tensors[id(tensor)] = tensor
        self.tensors = [
            (tensor, tensor.detach().clone(), tensor.requires_grad, tensor.grad if tensor.is_leaf else None)
            for tensor in tensors.values()
        ]

    def put_back(self) -> None:
        import torch

        for module, training in self.modes:
            module.training = training
        for table, before in self.tables:
            if not _same(table, before):
                table.clear()
                table.update(before)
        for tensor, copy, requires_grad, grad in self.tensors:
            if _differs(tensor, copy):
                # a tensor made in inference mode may be written to in there only
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    if tensor.shape == copy.shape and tensor.device == copy.device and tensor.dtype == copy.dtype:
                        tensor.copy_(copy)
                    else:
                        tensor.data = copy
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)
            if tensor.is_leaf and tensor.grad is not grad:
                tensor.grad = grad


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all(one[name] is other[name] for name in one)


def _differs(tensor: Tensor, before: Tensor) -> bool:
    import torch

    if tensor.is_meta:
        return False
    if tensor.shape != before.shape or tensor.device != before.device or tensor.dtype != before.dtype:
        return True
    try:
        return not torch.equal(tensor.detach(), before)
    except (RuntimeError, NotImplementedError):  # a kind of tensor that cannot be compared is not written back either
        return False
