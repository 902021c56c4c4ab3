"""From a file of another project to a model file of the toolkit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from disentangle.config import parse_config
from disentangle.errors import CheckpointError, DisentangleError
from disentangle.files import check_destination, sha256_of
from disentangle.inert.boundary import reading
from disentangle.inert.nodes import Limits
from disentangle.io.checkpoint import save
from disentangle.io.discriminators import save_discriminator
from disentangle.io.foreign.fitting import fitted, other_layers
from disentangle.io.foreign.formats import ONLY, Content, Converted, Options, mapping_depth
from disentangle.io.foreign.locating import Located, located, said_of_counters
from disentangle.io.foreign.network import counters_of, find
from disentangle.io.foreign.opening import open_content
from disentangle.io.foreign.plausible import said_of_pictures
from disentangle.io.foreign.reflectors import Order
from disentangle.io.foreign.regenerated import regenerate
from disentangle.io.foreign.stated import check_stated
from disentangle.io.foreign.trial import check_picture
from disentangle.io.foreign.unstated import check_given
from disentangle.io.foreign.whole_modules import check_module
from disentangle.models.discriminators import StyleGAN2DiscriminatorConfig, build_discriminator
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["Foreign", "convert", "open_content", "read"]

_AVERAGED_OVER = 10_000  # latents of the mean of w where a file lacks it
_AT_ONCE = 2**22  # numbers of them


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another project in the toolkit's terms.

    Attributes:
        format: which project's.
        config: the model's configuration, for :func:`disentangle.models.build_model`.
        state: its tensors.
        provenance: source, sha256, format, which network, decisions.
    """

    format: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    provenance: dict[str, Any]


@checks_arguments
def read(
    path: str | os.PathLike[str], *, weights: str | None = None, order: Order = "auto",
    rank: int | None = None, fused: Literal["auto", "always", "never"] = "auto",
    settings: Mapping[str, object] | None = None, limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Foreign:  # fmt: skip
    """A checkpoint of another project as configuration and tensors; nothing in it is run.

    Args:
        path: a file or folder.
        weights: which of the networks in it; the averaged one by default.
        order: "usv" or "vsu", of HouseholderGAN's factors, where the file does not show it; see :class:`Options`.
        rank: of HouseholderGAN's projections, where the file does not say; 10 by default.
        fused: of genforce's ProGAN and StyleGAN, which the file does not say; see :class:`Options`.
        settings: others that its format's files do not state, by name; :func:`contents` lists them.
        limits: what the file may ask of the machine.

    Raises:
        CheckpointError: if it is damaged, of no known format, its tensors do not fit, or it asks for more.
    """
    content = open_content(path, limits=limits)
    place = located(content, Options(weights=weights, order=order, rank=rank, fused=fused, settings=settings or {}))
    return _read(content, place)


def _read(content: Content, place: Located) -> Foreign:
    path, family = content.path, place.family
    check_given(place.options.settings, family.settings, what=family.name)
    with _laid_out(path, family.name):
        converted = family.convert(place.content, place.options)
        converted.decisions[:0] = [*place.decisions, *_counters(place, converted.which)]
        converted.which = place.which(converted.which)
        for data in (content.data, place.content.data) if place.path else (content.data,):
            check_stated(data, converted.config, content.budget)
        if place.module is not None:
            check_module(place.module, converted.config, content.budget)
            converted.decisions.append("The file has the network whole: how its layers are set was compared too.")
    with reading(path, family.name):
        converted.decisions += regenerate(converted.config, converted.state, content.budget)
        _complete(path, family.name, converted)
        if converted.used:
            others = other_layers(fitted(path, family.name, converted.config, converted.state), converted.used)
            if others:
                converted.decisions.append(
                    f"The weights that {len(others)} of its orthogonal layers were last used with ({others[0]} first) "
                    "are not those that its factors make in either order: its pictures will differ."
                )
        provenance = _provenance(path, family.name, converted)
    return Foreign(family.name, converted.config, converted.state, provenance)


def _counters(place: Located, which: str) -> list[str]:
    """What is said of counters beside the network that a format took by this name."""
    data = place.content.data
    held = data if which == ONLY else find(data, which)
    inner = find(held, "state_dict")
    names = [name for part in (held, inner) if isinstance(part, Mapping) for name in counters_of(part)]
    return [said_of_counters(names)] if names else []


@contextmanager
def _laid_out(path: Path, name: str) -> Iterator[None]:
    """Around what a format makes of a file, whose errors do not name the file."""
    with reading(path, name):
        try:
            yield
        except DisentangleError as error:
            raise CheckpointError(f"{path} looks like {name}, but {_lowered(error)}") from None


def _provenance(path: Path, name: str, converted: Converted) -> dict[str, Any]:
    return {
        "source": path.resolve().name,
        "sha256": sha256_of(path) if path.is_file() else _digests(path),
        "format": name,
        "which": converted.which,
        "decisions": converted.decisions,
    }


@checks_arguments
def convert(
    path: str | os.PathLike[str], out: str | os.PathLike[str], *, weights: str | None = None,
    order: Order = "auto", rank: int | None = None,
    fused: Literal["auto", "always", "never"] = "auto", settings: Mapping[str, object] | None = None,
    discriminator: str | os.PathLike[str] | None = None, limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Foreign:  # fmt: skip
    """Write a checkpoint of another project as one model file of the toolkit.

    Args:
        path, weights, order, rank, fused, settings, limits: see :func:`read`.
        out: the ``.safetensors`` file; written at the end, atomically.
        discriminator: a second such file, for the discriminator that a StyleGAN2 or 3 was trained against.

    Raises:
        CheckpointError: as :func:`read`, or if the file has no such discriminator; no file is left then.
        OutputError: if a file cannot be written.
    """
    for file in (out, discriminator):
        if file is not None:
            check_destination(file, inputs=(path,))
    content = open_content(path, limits=limits)
    place = located(content, Options(weights=weights, order=order, rank=rank, fused=fused, settings=settings or {}))
    found = _read(content, place)
    opponent = None if discriminator is None else _read_discriminator(place, found)
    with reading(path, found.format):
        del content, place  # the other networks of the file
        model = fitted(path, found.format, found.config, found.state)
        check_picture(path, model)
        found.provenance["decisions"] += said_of_pictures(model)
    save(model, out, provenance=found.provenance)
    if opponent is not None and discriminator is not None:
        save_discriminator(opponent[0], discriminator, provenance=opponent[1])
    return found


def _read_discriminator(place: Located, generator: Foreign) -> tuple[nn.Module, dict[str, Any]]:
    """The discriminator of a file, and where it comes from."""
    path, name, convert_discriminator = place.content.path, generator.format, place.family.convert_discriminator
    with _laid_out(path, name):
        if convert_discriminator is None:
            raise CheckpointError(
                "its discriminator is not read; expected a network pickle of StyleGAN2 or StyleGAN3 or a checkpoint in "
                "rosinality's layout."
            )
        converted = convert_discriminator(place.content)
    with reading(path, name):
        _complete(path, name, converted)
    for key in ("resolution", "image_channels", "c_dim"):
        ours, theirs = converted.config.get(key, 0), generator.config.get(key, 0)
        if ours != theirs:
            raise CheckpointError(
                f"{path} looks like {name}, but the {key} of its discriminator is {shown(ours)}, and that of its "
                f"generator {shown(theirs)}; it is damaged."
            )
    with reading(path, name):
        network = fitted(path, name, converted.config, converted.state, build=_discriminator)
        return network, _provenance(path, name, converted)


def _discriminator(config: dict[str, Any]) -> nn.Module:
    return build_discriminator(parse_config(StyleGAN2DiscriminatorConfig, config))


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file in a folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _complete(path: str | os.PathLike[str], name: str, converted: Converted) -> None:
    """Contiguous float32 tensors of the model's names, and a mean of w where the file has none."""
    state = converted.state
    for key, tensor in state.items():
        if tensor.is_complex():
            raise CheckpointError(
                f"{path} looks like {name}, but its tensor {shown(key)} is complex; expected real numbers."
            )
        if not tensor.is_floating_point() and not key.endswith("num_batches_tracked"):
            raise CheckpointError(
                f"{path} looks like {name}, but its tensor {shown(key)} holds {tensor.dtype} numbers; expected "
                "floating point ones."
            )
        state[key] = tensor.detach().to(torch.float32) if tensor.is_floating_point() else tensor.detach()
        if tensor.is_floating_point() and not torch.isfinite(state[key]).all():
            raise CheckpointError(f"{path} looks like {name}, but its tensor {shown(key)} holds NaN or infinity.")
    if "mapping.fc0.weight" in state and "mapping.w_avg" not in state:
        state["mapping.w_avg"] = torch.zeros(
            len(state.get(f"mapping.fc{mapping_depth(state) - 1}.weight", state["mapping.fc0.weight"]))
        )
        model: Any = fitted(path, name, converted.config, state)
        random = torch.Generator().manual_seed(0)
        total = torch.zeros_like(state["mapping.w_avg"], dtype=torch.float64)
        with torch.inference_mode():
            widest = max(*model.spaces["z"].shape, *model.spaces["w"].shape, model.c_dim)
            count = min(1000, max(_AT_ONCE // widest, 1))
            for start in range(0, _AVERAGED_OVER, count):
                count = min(count, _AVERAGED_OVER - start)
                z = torch.randn(count, *model.spaces["z"].shape, generator=random)
                label = torch.arange(start, start + count) % model.c_dim if model.c_dim else None
                total += model.convert_latents(z, "z", "w", label=label).to(torch.float64).sum(0)
        state["mapping.w_avg"] = (total / _AVERAGED_OVER).to(torch.float32)
        converted.decisions.append(
            f"The file has no mean of w, which truncation needs: computed from {_AVERAGED_OVER:,} latents of seed 0."
        )


def _lowered(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
