"""Which layer of a network feeds which, from one forward pass.

The order in which layers are registered is not the order in which they run, and neither says what a layer gets. So the
network runs once, in eval mode, on a picture of zeros, with hooks that note each layer's input and output, and
autograd's graph joins them: it passes through function calls, sums and work in place. The pass is made on the meta
device, without numbers and with nothing of the network changed; where that does not work (a forward that looks at
values, or makes tensors of its own) with numbers. Where no picture fits, ``torch.fx`` traces the network instead.
Hooks that others put on the network run too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.looking import looking_at
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.whitening import DecorrelatedBatchNorm2d

__all__ = ["LINEAR", "Call", "DataFlow", "Picture", "data_flow", "forward", "is_weighted", "width"]

LINEAR = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

# 224 first: there the last map has more positions than one, which tells it from a gate. The others are for networks
# that work at one size only.
_SIDES = (224, 64, 32, 28, 299)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer: the nodes of the graph that it reads and makes, and shapes where the pass has some."""

    name: str
    module: nn.Module
    reads: tuple[Any, ...]
    makes: Any
    given: torch.Size | None
    gives: torch.Size | None


@dataclass(frozen=True)
class Picture:
    """What a network runs on: a shape (n, C, H, W), and whether with numbers or on the meta device."""

    shape: tuple[int, int, int, int]
    has_numbers: bool


class DataFlow:
    """All calls of a network's layers in the order in which they end, and the graph that joins them.

    Args:
        calls: in that order.
        parents: the nodes that a node reads.
        picture: of the pass; None for a trace.
    """

    def __init__(self, calls: list[Call], parents: Callable[[Any], Iterable[Any]], picture: Picture | None) -> None:
        self.calls = calls
        self.picture = picture
        self.parents = parents

    def of(self, name: str) -> list[Call]:
        """The calls of one layer."""
        return [call for call in self.calls if call.name == name]

    def before(self, call: Call, among: Callable[[nn.Module], bool]) -> list[Call]:
        """The calls ``among`` some layers whose output reaches a call through none of these, in their order."""
        makers = {other.makes: other for other in self.calls if other is not call and among(other.module)}
        found = {makers[node] for node in self._walk(call.reads, makers) if node in makers}
        return [other for other in self.calls if other in found]

    def after(self, call: Call) -> list[Call]:
        """The later calls that a call's output reaches."""
        later = self.calls[self.calls.index(call) + 1 :]
        return [other for other in later if any(node is call.makes for node in self._walk(other.reads, {call.makes}))]

    def main_branch(self, call: Call) -> nn.Module | None:
        """The linear layer that feeds a call: where branches meet, the last of the branch with most layers.

        In a residual block that is the last convolution of the block, never its shortcut's, whichever of the two runs
        later. Layers whose output has other positions than what the call gets (the gate of squeeze and excitation, say)
        come only where there is no other. None if there is no linear layer in front.
        """
        linear = [other for other in self.calls if isinstance(other.module, LINEAR)]
        depth: dict[Call, int] = {}
        for other in linear:
            front = [depth.get(earlier, 0) for earlier in self.before(other, _is_linear)]
            depth[other] = 1 + max(front, default=0)
        candidates = self.before(call, _is_linear)
        if not candidates:
            return None
        return max(candidates, key=lambda c: (_positions(c) == _map(call), depth[c], linear.index(c))).module

    def _walk(self, nodes: Iterable[Any], stops: Any) -> Iterator[Any]:
        """All nodes from which these come, themselves among them, not beyond a stop."""
        seen: set[Any] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            if node not in stops:
                waiting.extend(self.parents(node))


def data_flow(model: nn.Module) -> DataFlow | None:
    """The data flow of a network that takes one picture, or that can be traced; None for others."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None:
        own = getattr(getattr(model, "config", None), "resolution", None)  # one of the toolkit's takes no other
        sides = (*((own,) if isinstance(own, int) else ()), *_SIDES)
        for has_numbers, side in itertools.product((False, True), sides):
            try:
                return _recorded(model, Picture((2, first.in_channels, side, side), has_numbers))
            except Exception:  # a forward may do anything, and raises whatever that meets
                continue
    try:
        return _traced(model)
    except Exception:
        return None


def forward(model: nn.Module, picture: Picture) -> None:
    """One forward pass of zeros as in eval mode, which leaves parameters, buffers and modes as they are.

    Raises:
        Exception: whatever the network's forward raises on such a picture.
    """
    tensors = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
    reference = next((tensor for tensor in tensors.values() if tensor.is_floating_point()), torch.empty(0))
    device = reference.device if picture.has_numbers else torch.device("meta")
    x = torch.zeros(picture.shape, dtype=reference.dtype, device=device, requires_grad=True)
    with looking_at(model), torch.inference_mode(False), torch.enable_grad():
        if picture.has_numbers:
            model(x)
        else:
            empty = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
            torch.func.functional_call(model, empty, (x,))


def is_weighted(module: nn.Module) -> bool:
    """Whether a layer has weights of its own, and no linear layer inside, which is found by itself."""
    if isinstance(module, LINEAR):
        return True
    return any(True for _ in module.parameters(recurse=False)) and not any(map(_is_linear, module.modules()))


def width(module: nn.Module) -> int:
    """Channels of a linear layer's output."""
    channels: Any = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return int(channels)


# ------------------------------------------------------------------------------------------------ one run, a trace


def _recorded(model: nn.Module, picture: Picture) -> DataFlow:
    calls: list[Call] = []
    opened: list[tuple[list[Any], torch.Size | None]] = []

    def enter(_module: nn.Module, args: Any, kwargs: Any) -> None:
        # Before the call, since work in place gives the input another node.
        tensors = list(_tensors((args, kwargs)))
        opened.append(([t.grad_fn for t in tensors if t.grad_fn is not None], tensors[0].shape if tensors else None))

    def leave(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            reads, given = opened.pop()
            made = next((t for t in _tensors(output) if t.grad_fn is not None), None)
            if made is not None:
                calls.append(Call(name, module, tuple(reads), made.grad_fn, given, made.shape))

        return hook

    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave(name)))
        forward(model, picture)
    finally:
        for handle in handles:
            handle.remove()
    return DataFlow(calls, lambda node: [parent for parent, _ in node.next_functions if parent is not None], picture)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


class _Tracer(torch.fx.Tracer):
    """Layers that look at their input's shape, as ours do, are not traced through."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, (CovariancePool2d, DecorrelatedBatchNorm2d)) or not any(True for _ in m.children())
        return own or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module) -> DataFlow:
    modules = dict(model.named_modules())
    nodes = [node for node in _Tracer().trace(model).nodes if node.op == "call_module"]
    calls = [
        Call(str(node.target), modules[str(node.target)], tuple(node.all_input_nodes), node, None, None)
        for node in nodes
    ]
    return DataFlow(calls, lambda node: node.all_input_nodes, None)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, LINEAR)


def _positions(call: Call) -> int | None:
    """Of a linear layer's output, in whatever order its dimensions stand."""
    return None if call.gives is None else call.gives[1:].numel() // width(call.module)


def _map(call: Call) -> int | None:
    """Positions of the map (n, C, *) that a call gets."""
    return None if call.given is None else call.given[2:].numel()
