"""What a training with SVD meta-layers should show of them, and where a NaN came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.linalg import condition_number, effective_condition_number, numerical_rank
from disentangle.looking import looking_at
from disentangle.nn import SkewConv2d

__all__ = ["RANK_TOLERANCE", "covariance_stats", "first_nonfinite", "weight_in_use"]

# An eigenvalue below this share of the largest is rounding of the features: those of a covariance without that
# direction come out near 1e-13 in float32 (a 3x3 stem on grey pictures) and 1e-6 in bfloat16.
RANK_TOLERANCE = {"fp32": 1e-10, "bf16": 1e-5}

_MOST = 8  # covariances of a batch that are looked at, where each picture has its own


def covariance_stats(layers: Mapping[str, nn.Module], precision: str = "fp32") -> dict[str, dict[str, Any]]:
    """Conditioning of the covariance that each spectral layer saw in the last training batch.

    Args:
        layers: of :func:`disentangle.nn.spectral_layers`; those without a batch yet are left out.
        precision: "fp32" or "bf16", the arithmetic of the features.

    Returns:
        For each layer, medians over groups of channels (whitening) or over the first eight pictures (pooling):
        ``condition_number`` of the covariance over all ``size`` directions, ``ridged_condition_number`` of it with the
        layer's eps added, ``effective_condition_number`` over the ``rank`` directions that are no rounding; and
        ``spectrum``, the mean eigenvalues, largest first. Where the rank is below the size, the first measures
        rounding and the second eps; only the third tells about the layer in front.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, layer in layers.items():
        matrices: Tensor | None = getattr(layer, "covariance", None)
        if matrices is None:
            continue
        matrices = matrices[:_MOST].cpu()
        size = matrices.shape[-1]
        tolerance = RANK_TOLERANCE[precision]
        ridge = float(getattr(layer, "eps", 0.0)) * torch.eye(size, dtype=matrices.dtype)
        finite = bool(torch.isfinite(matrices).all())
        spectrum = torch.linalg.eigvalsh(matrices).flip(-1).mean(0) if finite else torch.full((size,), float("nan"))
        rows[name] = {
            "size": size,
            "rank": int(numerical_rank(matrices, rtol=tolerance).median()),
            "condition_number": float(condition_number(matrices).median()),
            "ridged_condition_number": float(condition_number(matrices + ridge).median()),
            "effective_condition_number": float(effective_condition_number(matrices, rtol=tolerance).median()),
            "spectrum": spectrum.tolist(),
        }
    return rows


@torch.no_grad()
def weight_in_use(layer: nn.Module) -> Tensor:
    """The matrix (or filter) that a layer with a constrained weight really applies, without moving the state behind it.

    A skew orthogonal convolution has no filter that is orthogonal; of it this is the matrix (inputs, outputs) of the
    whole map on a picture two strides wide, found by feeding the unit pictures.
    """
    with looking_at(layer):  # in training mode spectral normalisation takes a step of its power iteration
        if not isinstance(layer, SkewConv2d):
            return layer.weight.detach().clone()  # type: ignore[operator]
        side = layer.stride * (1 if layer.kernel_size == (1, 1) else 2)
        units = torch.eye(layer.in_channels * side**2, device=layer.weight.device)
        units = units.reshape(-1, layer.in_channels, side, side)
        return (layer(units) - layer(torch.zeros_like(units[:1]))).flatten(1)  # without the bias


@torch.no_grad()
def first_nonfinite(model: nn.Module, images: Tensor) -> str:
    """Where NaN or infinity comes in, in words: the pictures, a weight, the output of a layer, or a gradient.

    Runs ``model`` on ``images`` once more, so the running statistics move; for the moment before a training gives up.
    """
    if not bool(torch.isfinite(images).all()):
        return "the pictures of the batch hold"
    for name, tensor in model.named_parameters():  # not the running statistics, which this batch has spoilt already
        if not bool(torch.isfinite(tensor).all()):
            return f"{name!r} holds"
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        model(images)
    except RuntimeError:  # a solver that refuses NaN: what came before it is found already
        pass
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"the output of layer {found[0]!r} holds"
    # Backward fills every gradient up to the layer that fails, so the last one in the network is nearest to it.
    bad = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
    return f"the gradient of {bad[-1]!r} holds" if bad else "the loss holds"
