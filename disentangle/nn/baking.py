"""A trained network as one of ordinary layers, which computes the same and which exporters know.

In evaluation mode whitening is a constant matrix, an orthogonal weight a constant weight, and the matrix function of
covariance pooling a fixed number of products (:mod:`disentangle.linalg.products`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from disentangle.errors import InputError
from disentangle.linalg.products import check_products
from disentangle.looking import looking_at
from disentangle.nn.baked import BakedCovariancePool2d, ChannelMap, ConstantSkewConv2d
from disentangle.nn.data_flow import Call, DataFlow, Picture, data_flow
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.projection import HouseholderProjection
from disentangle.nn.skew_conv import SkewConv2d
from disentangle.nn.whitening import DecorrelatedBatchNorm2d
from disentangle.signatures import checks_arguments

__all__ = ["bake", "bake_structure", "is_bakeable"]

ModelT = TypeVar("ModelT", bound=nn.Module)
_TOLERANCE = (3e-2, 1e-3)  # of the norm of an output, in half precision and in others
_OWN = (DecorrelatedBatchNorm2d, CovariancePool2d, HouseholderProjection, SkewConv2d)


@checks_arguments
def bake(model: ModelT) -> ModelT:
    """Make a network one of ordinary layers that gives the same outputs in evaluation mode; in place.

    What becomes of its layers:

    - whitening (:class:`~disentangle.nn.DecorrelatedBatchNorm2d`) goes into the convolution or linear layer that feeds
      it, else into the one that it feeds, and leaves an ``nn.Identity``; where neither can be (several layers read the
      convolution's output, say), a 1x1 convolution stands in its place;
    - covariance pooling (:class:`~disentangle.nn.CovariancePool2d`) computes its root by products, see
      :class:`~disentangle.nn.baked.BakedCovariancePool2d`;
    - parametrised weights (:func:`~disentangle.nn.project`, :func:`~disentangle.nn.orthogonal_weight`, torch's own) are
      plain parameters, a :class:`~disentangle.nn.HouseholderProjection` is an ``nn.Linear``, and a
      :class:`~disentangle.nn.SkewConv2d` keeps its filter instead of the free parameter behind it.

    Then ``torch.onnx.export``, ``torch.export`` and ``torch.jit.trace`` take it as they take any network. Folding is
    checked: the network runs on random pictures before and after, and what does not agree to rounding is not
    folded. In half precision the folded weights are rounded to that: bake first, cast afterwards.

    Args:
        model: a trained network with such layers, in evaluation mode, or a generator that was projected, in any.

    Returns:
        The same model (of a single whitening or pooling layer the new one). The ``config`` of one of the toolkit's says
        what was done, so that :func:`disentangle.save` keeps it.

    Raises:
        InputError: if there is nothing to bake; if whitening or pooling is in training mode, has no running statistics
            or has seen no batch yet; if a pool's method needs a decomposition. The model is then as it was.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), DecorrelatedBatchNorm2d(4), nn.ReLU())
    >>> _ = model(torch.randn(2, 3, 8, 8))
    >>> bake(model.eval())
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    for name, layer in _layers(model, (DecorrelatedBatchNorm2d, CovariancePool2d)).items():
        if layer.training:
            raise InputError(
                f"{_shown(name, layer)} is in training mode, where it depends on the batch; call model.eval() first."
            )
        if isinstance(layer, DecorrelatedBatchNorm2d):
            _check_statistics(name, layer)
    return bake_structure(model)


def bake_structure(model: ModelT) -> ModelT:
    """:func:`bake` whatever the numbers and the mode, such as for a network that is to be read from a file."""
    if isinstance(model, _OWN) and not isinstance(model, ConstantSkewConv2d):  # nothing holds it
        (layer,) = bake_structure(nn.Sequential(model))
        return layer  # type: ignore[return-value]
    config = getattr(model, "config", None)
    if not is_bakeable(model):
        raise InputError(
            f"This {type(model).__name__} has no orthogonal projections or weights, no whitening and no covariance "
            "pooling, so there is nothing to bake; it can be exported as it is."
        )
    for name, pool in _layers(model, CovariancePool2d).items():
        _check_pool(name, pool)
    _end_parametrisations(_parametrised(model))
    _fold_all(model)
    for pool in _layers(model, CovariancePool2d).values():
        _replace(model, pool, BakedCovariancePool2d(pool))
    for projection in _layers(model, HouseholderProjection).values():
        _replace(model, projection, projection.bake().train(projection.training))
    for skew in _layers(model, SkewConv2d).values():
        _replace(model, skew, ConstantSkewConv2d(skew))
    news: dict[str, Any] = {}
    if getattr(config, "projection", None) is not None:
        news["projection"] = None
    if hasattr(config, "baked"):
        news["baked"] = True
    if news:
        model.config = config.model_copy(update=news)  # type: ignore[union-attr]
    return model


def is_bakeable(model: nn.Module) -> bool:
    """Whether a network has layers or weights that :func:`bake` makes ordinary."""
    return bool(_parametrised(model) or _layers(model, _OWN))


# ------------------------------------------------------------------------------------------------------------ checks


def _check_statistics(name: str, layer: DecorrelatedBatchNorm2d) -> None:
    if layer.running_mean is None:
        raise InputError(
            f"{_shown(name, layer)} has no running statistics (track_running_stats=False), so that it depends on the "
            "batch in evaluation mode too; expected a layer that keeps some."
        )
    second: Tensor = getattr(layer, f"running_{layer.running}")
    start = torch.eye(second.shape[-1], dtype=second.dtype, device=second.device).expand_as(second)
    if not layer.running_mean.any() and torch.equal(second, start):
        raise InputError(
            f"{_shown(name, layer)} has seen no batch: its running statistics are those of the start; train the model, "
            "or run some batches of data through it in training mode, then bake it in evaluation mode."
        )
    if not (torch.isfinite(layer.running_mean).all() and torch.isfinite(second).all()):
        raise InputError(f"{_shown(name, layer)} has running statistics with NaN or infinity; expected finite ones.")


def _check_pool(name: str, pool: CovariancePool2d) -> None:
    try:
        check_products(pool.method)
    except InputError as error:
        raise InputError(f"{_shown(name, pool)} cannot be baked: {error}") from error
    if pool.power not in (0.5, 1) and pool.eps == 0:
        raise InputError(
            f"{_shown(name, pool)} has eps=0 with power={pool.power!r}, whose value by products needs a positive "
            "definite matrix; expected an eps above 0, such as 1e-5."
        )


def _shown(name: str, layer: nn.Module) -> str:
    return f"{name or 'The model'!r}, a {type(layer).__name__}," if name else f"This {type(layer).__name__}"


# ----------------------------------------------------------------------------------------------------------- weights


def _layers(model: nn.Module, kinds: Any) -> dict[str, Any]:
    named = model.named_modules()
    return {name: m for name, m in named if isinstance(m, kinds) and not isinstance(m, ConstantSkewConv2d)}


def _parametrised(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if parametrize.is_parametrized(module)]


def _end_parametrisations(modules: list[nn.Module]) -> None:
    """Plain parameters of the same values; of weights that layers share there is one."""
    plain: dict[tuple[int, float], nn.Parameter] = {}
    module: Any
    for module in modules:
        factor = 1.0
        if hasattr(module, "he_gain"):  # an equalised layer whose orthogonal weight is used with another gain
            factor, module.gain = module.gain / module.he_gain, module.he_gain
        values: dict[str, nn.Parameter] = {}
        for name, chain in module.parametrizations.items():
            key = (id(chain), factor if name == "weight" else 1.0)
            if key not in plain:
                trained = any(part.requires_grad for part in chain.parameters())
                plain[key] = nn.Parameter(getattr(module, name).detach() * key[1], requires_grad=trained)
            values[name] = plain[key]
        # torch's own way to end a parametrisation takes the property off a class that all copies of the module share
        del module.parametrizations
        module.__class__ = type(module).__mro__[1]
        for name, value in values.items():
            module.register_parameter(name, value)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Everywhere, since one layer may have several places."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


# ----------------------------------------------------------------------------------------------------------- folding


def _fold_all(model: nn.Module) -> None:
    layers = _layers(model, DecorrelatedBatchNorm2d)
    flow = data_flow(model) if layers else None
    is_right = _judge(model, flow)
    if flow is not None and is_right is not None:
        calls = {name: flow.of(name) for name in layers}
        pairs = [(layer, _neighbours(flow, calls[name][0])) for name, layer in layers.items() if len(calls[name]) == 1]
        undo = [step for layer, neighbours in pairs if (step := _fold(model, layer, neighbours)) is not None]
        if undo and not is_right():  # one look for all, and one for each only where something is wrong
            for step in reversed(undo):
                step()
            for layer, neighbours in pairs:
                for neighbour in neighbours:
                    one = _fold(model, layer, [neighbour])
                    if one is not None and is_right():
                        break
                    if one is not None:
                        one()
    for name, layer in _layers(model, DecorrelatedBatchNorm2d).items():
        constant = layer.bake()
        made = [] if flow is None else flow.of(name)
        if not made or any(call.given is None or len(call.given) != 4 for call in made):
            constant.__class__ = ChannelMap
        _replace(model, layer, constant)


def _judge(model: nn.Module, flow: DataFlow | None) -> Callable[[], bool] | None:
    """Whether the network, by then changed, still gives what it gives now; None where that cannot be told."""
    if flow is None or flow.picture is None:
        return None
    if hasattr(getattr(model, "config", None), "baked"):
        # The structure of one of the toolkit's is known, and has to come out the same when it is read from a file.
        return lambda: True
    picture = flow.picture
    try:
        expected = _outputs(model, picture)
    except Exception:  # its forward may raise whatever it meets in a picture of noise
        return None
    return (lambda: _agree(_outputs(model, picture), expected)) if expected else None


def _neighbours(flow: DataFlow, call: Call) -> list[tuple[Call, bool]]:
    """The layer that feeds a whitening directly and it alone, with True; then the one that it feeds so, with False."""
    edges = _edges(flow)
    plain = [other for other in flow.calls if len(flow.of(other.name)) == 1 and _is_plain(other.module)]
    feeding = [c for c in plain if call.reads == (c.makes,) and edges.get(c.makes) == 1]
    fed = [c for c in plain if c.reads == (call.makes,) and edges.get(call.makes) == 1]
    return [*((c, True) for c in feeding), *((c, False) for c in fed)]


def _edges(flow: DataFlow) -> dict[Any, int]:
    """How often each node of the graph is read."""
    counts: dict[Any, int] = {}
    seen: set[Any] = set()
    waiting = [call.makes for call in flow.calls]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        for parent in flow.parents(node):
            counts[parent] = counts.get(parent, 0) + 1
            waiting.append(parent)
    return counts


def _is_plain(module: nn.Module) -> bool:
    """Whether a layer is linear in its weight as it stands: others, of one's own, may standardise or quantise it."""
    return any(
        isinstance(module, kind) and type(module).forward is kind.forward
        for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    )


def _fold(
    model: nn.Module, layer: DecorrelatedBatchNorm2d, neighbours: list[tuple[Call, bool]]
) -> Callable[[], None] | None:
    """Fold a whitening into the first neighbour that can take it; what undoes that, or None if none can."""
    for call, feeds in neighbours:
        module: Any = call.module
        new = _after(module, layer) if feeds else _before(module, layer)
        if new is None or (isinstance(module, nn.Linear) and (call.given is None or len(call.given) != 2)):
            continue
        weight, bias = module.weight, module.bias
        module.weight, module.bias = (
            nn.Parameter(value.to(weight.dtype), requires_grad=weight.requires_grad) for value in new
        )
        identity = nn.Identity().train(layer.training)
        _replace(model, layer, identity)

        def undo(module: Any = module, weight: Any = weight, bias: Any = bias, identity: Any = identity) -> None:
            module.weight, module.bias = weight, bias
            _replace(model, identity, layer)

        return undo
    return None


@torch.no_grad()
def _after(module: Any, layer: DecorrelatedBatchNorm2d) -> tuple[Tensor, Tensor] | None:
    """Weight and bias, in float64, of a layer followed by the whitening."""
    matrix, shift = layer.constant()
    weight: Tensor = module.weight.double()
    bias = weight.new_zeros(len(shift)) if module.bias is None else module.bias.double()
    if isinstance(module, nn.ConvTranspose2d):
        if module.groups != 1:
            return None
        weight = torch.einsum("oc,ic...->io...", torch.block_diag(*matrix), weight)
    else:
        groups = getattr(module, "groups", 1)
        width = len(shift) // groups
        if width % matrix.shape[-1] and groups > 1:  # channels that one matrix mixes come from several groups
            return None
        weight = (torch.block_diag(*matrix) @ weight.flatten(1)).reshape(weight.shape)
    return weight, torch.block_diag(*matrix) @ bias + shift


@torch.no_grad()
def _before(module: Any, layer: DecorrelatedBatchNorm2d) -> tuple[Tensor, Tensor] | None:
    """Weight and bias, in float64, of a layer that reads the whitening's output."""
    if isinstance(module, nn.ConvTranspose2d) or getattr(module, "groups", 1) != 1:
        return None
    if any(getattr(module, "padding", ())):  # pads with zeros (or by a rule) after the shift
        return None
    matrix, shift = layer.constant()
    old: Tensor = module.weight.double()
    bias = old.new_zeros(len(old)) if module.bias is None else module.bias.double()
    bias = bias + torch.einsum("oc...,c->o", old.flatten(2).sum(-1) if old.ndim > 2 else old, shift)
    return torch.einsum("oc...,cd->od...", old, torch.block_diag(*matrix)), bias


def _outputs(model: nn.Module, picture: Picture) -> list[Tensor]:
    """Everything that the network gives for random pictures in evaluation mode; nothing of it changes."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    with looking_at(model), torch.no_grad():
        return list(_tensors(model(noise.to(weight))))


def _agree(ours: list[Tensor], expected: list[Tensor]) -> bool:
    return len(ours) == len(expected) and all(
        one.shape == other.shape
        and bool((one - other).double().norm() <= _TOLERANCE[other.element_size() > 2] * other.double().norm())
        for one, other in zip(ours, expected, strict=True)
    )  # false where there is a NaN, too


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
