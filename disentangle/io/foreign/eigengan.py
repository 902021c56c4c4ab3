"""EigenGAN checkpoints of bryandlee's implementation and of OrthoImproveCond, which builds on it."""

from __future__ import annotations

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, choose, networks_in
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename

__all__ = ["FORMAT", "NAME", "convert", "recognise"]

NAME = "an EigenGAN in bryandlee's layout"

_NETWORKS = ("g_ema", "g")
_LARGEST_BASIS = 2048
_MARK = "blocks.0.projection.U"


def recognise(content: Content) -> bool:
    """Whether one of its networks has a subspace in its first block."""
    return bool(networks_in(content.data, _NETWORKS, [_MARK]))


_TABLE: list[Row] = [
    (r"fc\.(weight|bias)", r"fc.\1", None),
    (r"blocks\.(\d+)\.projection\.(U|L|mu)", r"blocks.\1.projection.\2", None),
    (r"blocks\.(\d+)\.(subspace_conv[12])\.0\.(weight|bias)", r"blocks.\1.\2.\3", None),
    (r"blocks\.(\d+)\.(feature_conv[12])\.1\.(weight|bias)", r"blocks.\1.\2.\3", None),
    (r"to_rgb\.0\.1\.(weight|bias)", r"to_image.\1", None),
]


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator. How far its bases are from orthonormal is said, and left as it is."""
    networks = networks_in(content.data, _NETWORKS, [_MARK])
    which = choose(networks, _NETWORKS, options.weights)
    state = rename(tensors_of(networks[which], content.budget), _TABLE)
    count = sum(name.endswith(".projection.U") for name in state)
    channels = [state[f"blocks.{i}.subspace_conv1.weight"].shape[0] for i in range(count)]
    channels.append(state["to_image.weight"].shape[1])
    config = {
        "kind": "eigengan",
        "resolution": 4 << count,
        "image_channels": state["to_image.weight"].shape[0],
        "basis": state[_MARK].shape[0],
        "noise_dim": state["fc.weight"].shape[1],
        "channels": tuple(channels),
    }
    defects = []
    for i in range(count):
        basis = state[f"blocks.{i}.projection.U"]
        if basis.ndim != 2 or not basis.shape[0] <= min(basis.shape[1], _LARGEST_BASIS):
            raise CheckpointError(
                f"its basis blocks.{i}.projection.U has shape {tuple(basis.shape)}; expected at most "
                f"{_LARGEST_BASIS:,} directions, and no more than they have coordinates."
            )
        gram = basis.double() @ basis.double().mT
        gram.diagonal().sub_(1)
        defects.append(float(gram.abs().max()))
    said = ", ".join(f"{defect:.1e}" for defect in defects)
    return Converted(
        config, state, which, [f"Largest entries of |U U^T - I|, block by block: {said}; kept as they are."]
    )


FORMAT = ForeignFormat(NAME, recognise, convert, networks=_NETWORKS)
