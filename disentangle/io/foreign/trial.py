"""Whether a network of a file makes a picture, looked at without letting it take the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from disentangle.errors import CheckpointError, reason
from disentangle.looking import looks_at

__all__ = ["check_picture", "pictures_within"]

_PICTURE = 2**21  # features of one layer above which a trial picture is not taken further: 64 pixels of StyleGAN2
_RESULT = 2**25  # numbers of the result of any operation, which is not begun if it would have more
_PRODUCTS = 2**36  # of all convolutions and matrix products together: seconds


class _Enough(Exception):
    """Leaves the network in the middle of a picture."""


@looks_at("model")
def check_picture(path: str | os.PathLike[str], model: Any) -> None:
    """One picture must come out finite.

    Of networks for large pictures only the layers up to the first with more than 2^21 features are run: the whole of a
    StyleGAN3 of 1,024 pixels would take a quarter of a minute and gigabytes. A network whose layers are small and make
    large things is left before it makes them.

    Raises:
        CheckpointError: if it does not.
    """
    if not hasattr(model, "sample_latents"):
        return

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.numel() > _PICTURE:
            check_finite(output)
            raise _Enough

    def check_finite(made: Tensor) -> None:
        if not torch.isfinite(made).all():
            raise CheckpointError(f"{path} makes pictures of NaN or infinity; its weights are damaged.")

    label = {"label": 0} if getattr(model, "c_dim", 0) else {}
    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        latents = model.sample_latents(1, generator=torch.Generator().manual_seed(0)).requires_grad_()
        # As if for a derivative, whose saved tensors are thrown away: what layers keep for speed is a copy of all.
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(lambda _: torch.empty(0), lambda empty: empty),
            _Foreseen(_PRODUCTS, _RESULT),
        ):
            check_finite(model(latents, **label))
    except _Enough:
        pass
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{path} makes no picture ({reason(error)}); its sizes do not fit together.") from None
    finally:
        for hook in hooks:
            hook.remove()


@looks_at("model")
def pictures_within(
    model: Any, latents: Tensor, options: Callable[[int], dict[str, Any]], *, most: int, largest: int
) -> Tensor:
    """Pictures (n, ...) of as many of the latents, one by one, as ``most`` products are enough for; n may be 0.

    Args:
        model: a network that :func:`check_picture` let pass.
        latents: (k, ...).
        options: keywords of the call for the latent of a number.
        most: products of all convolutions and matrices together.
        largest: numbers of one result, of more than those of any trial.
    """
    made: list[Tensor] = []
    foreseen = _Foreseen(most, max(_RESULT, largest))
    try:
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(lambda _: torch.empty(0), lambda empty: empty),
        ):
            for number, latent in enumerate(latents.split(1)):
                with foreseen:
                    made.append(model(latent.detach().requires_grad_(), **options(number)).detach())
    except (_Enough, RuntimeError, MemoryError):
        pass
    return torch.cat(made) if made else torch.empty(0)


class _Foreseen(TorchDispatchMode):
    """Sees every operation before it is done, and leaves where it would make too much of too little."""

    def __init__(self, most: int, largest: int) -> None:
        super().__init__()
        self.products, self.most, self.largest = 0, most, largest

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What torch asks before it loads its compiler, for seconds, only to keep it away from the method below."""
        return False

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        numbers, products = _foreseen(operation.overloadpacket.__name__, args, kwargs or {})
        self.products += products
        if numbers > self.largest or self.products > self.most:
            raise _Enough
        return operation(*args, **(kwargs or {}))


def _foreseen(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    """How many numbers an operation makes at most, and of how many products."""
    known = _KNOWN.get(name)
    if known is not None:
        return known(*args, **kwargs)
    if name in _VIEWS:
        return 0, 0
    tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    if name in ("cat", "stack"):
        return sum(tensor.numel() for tensor in tensors), 0
    shape: list[int] = []
    for tensor in tensors:  # as if all were broadcast together
        sizes = tensor.shape
        shape = [1] * (len(sizes) - len(shape)) + shape
        for place in range(1, len(sizes) + 1):
            shape[-place] = max(shape[-place], sizes[-place])
    largest = math.prod(shape)
    # Sizes in a call: what is padded, enlarged or made of nothing.
    sizes_said = [
        abs(part)
        for arg in (*args, *kwargs.values())
        if isinstance(arg, (list, tuple))
        for part in arg
        if isinstance(part, int)
    ]
    if name in _SIZED:
        largest = max(largest, math.prod(max(size, 1) for size in sizes_said))
    return largest, 0


_VIEWS = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "detach",
    "alias", "as_strided", "split", "split_with_sizes", "unbind", "diagonal", "unfold",
}  # fmt: skip
_SIZED = {
    "empty", "zeros", "ones", "full", "rand", "randn", "new_empty", "new_zeros", "new_ones", "new_full", "repeat",
    "empty_strided", "new_empty_strided", "randint",
}  # fmt: skip


def _convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> tuple[int, int]:  # fmt: skip
    pixels = 1
    for size, kernel, step, pad, wide, more in zip(
        x.shape[2:], weight.shape[2:], _spread(stride, x), _spread(padding, x), _spread(dilation, x),
        _spread(output_padding, x), strict=False,
    ):  # fmt: skip
        reach = wide * (kernel - 1) + 1
        pixels *= max(
            (size - 1) * step - 2 * pad + reach + more if transposed else (size + 2 * pad - reach) // step + 1, 1
        )
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    numbers = x.shape[0] * outputs * pixels
    positions = math.prod(x.shape[2:]) if transposed else pixels
    return numbers, x.shape[0] * weight.numel() * positions


def _spread(sizes: Sequence[int], x: Tensor) -> list[int]:
    count = x.ndim - 2
    return list(sizes) * count if len(sizes) == 1 else list(sizes)


def _multiplied(*args: Any, **kwargs: Any) -> tuple[int, int]:
    """(..., n, m) by (..., m, k), the last two tensors."""
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    if len(tensors) < 2:
        return 0, 0
    first, second = tensors[-2:]
    columns = second.shape[-1] if second.ndim > 1 else 1
    numbers = first.numel() // max(first.shape[-1], 1) * columns
    return numbers, first.numel() * columns


def _enlarged(x: Tensor, size: Sequence[int] | None = None, *rest: Any, **kwargs: Any) -> tuple[int, int]:
    if size is not None and all(isinstance(part, int) for part in size):
        return math.prod(x.shape[:2]) * math.prod(size), 0
    scales = [part for part in tree_leaves((size, rest, kwargs)) if isinstance(part, float)]
    return int(x.numel() * max([1.0, *scales]) ** (x.ndim - 2)), 0


def _padded(x: Tensor, pad: Sequence[int], *rest: Any, **kwargs: Any) -> tuple[int, int]:
    shape = list(x.shape)
    for place, (low, high) in enumerate(zip(pad[::2], pad[1::2], strict=False), start=1):
        shape[-place] += low + high
    return math.prod(max(size, 0) for size in shape), 0


def _repeated(x: Any, *rest: Any, **kwargs: Any) -> tuple[int, int]:
    times = next((part for part in rest if isinstance(part, int)), 1)
    return (x.numel() if isinstance(x, Tensor) else 1) * times, 0


def _ranged(*args: Any, **kwargs: Any) -> tuple[int, int]:
    numbers = [arg for arg in args if isinstance(arg, (int, float)) and not isinstance(arg, bool)]
    return int(max(map(abs, numbers), default=0)) * (2 if len(numbers) > 1 else 1), 0


def _on_diagonals(x: Tensor, *rest: Any, **kwargs: Any) -> tuple[int, int]:
    return x.numel() * max(x.shape[-1], 1), 0


def _squared(n: int, m: Any = None, *rest: Any, **kwargs: Any) -> tuple[int, int]:
    return n * (m if isinstance(m, int) else n), 0


_KNOWN: dict[str, Callable[..., tuple[int, int]]] = {
    "convolution": _convolved,
    "mm": _multiplied,
    "bmm": _multiplied,
    "mv": _multiplied,
    "addmm": _multiplied,
    "baddbmm": _multiplied,
    "addmv": _multiplied,
    "upsample_nearest2d": _enlarged,
    "upsample_bilinear2d": _enlarged,
    "_upsample_nearest_exact2d": _enlarged,
    "upsample_bicubic2d": _enlarged,
    "constant_pad_nd": _padded,
    "reflection_pad2d": _padded,
    "replication_pad2d": _padded,
    "repeat_interleave": _repeated,
    "arange": _ranged,
    "linspace": _ranged,
    "eye": _squared,
    "diag_embed": _on_diagonals,
}
