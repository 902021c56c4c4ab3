"""Fetching a published weight file: by https alone, to a name that cannot be foretold, kept if its hash is right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.request import HTTPRedirectHandler

from disentangle.errors import CheckpointError, InputError, reason
from disentangle.evaluations.features.weights import (
    FILES,
    FoundWeights,
    WeightFile,
    cache_folder,
    identified_weights,
)
from disentangle.files import write_atomically
from disentangle.text import escaped

__all__ = ["download", "find_or_download"]

_SECONDS = 60  # without any answer
_BLOCK = 2**20
_LARGEST = 2**32  # bytes of a file whose size is not known


def find_or_download(
    key: str, *, path: str | os.PathLike[str] | None = None, allow_download: bool = False
) -> FoundWeights:
    """:func:`~disentangle.evaluations.features.weights.identified_weights`, fetched to the cache where it is nowhere.

    Args:
        key: of :data:`~disentangle.evaluations.features.weights.FILES`.
        path: a file or folder; nothing is fetched in its place.
        allow_download: whether the web may be asked.

    Raises:
        InputError, CheckpointError: as the two functions.
    """
    try:
        return identified_weights(key, path=path)
    except InputError:
        if not allow_download or path is not None:
            raise
    return FoundWeights(download(key), FILES[key].sha256, published=True)


def download(key: str) -> Path:
    """Fetch the file to the cache: to a temporary name, checked by its hash, then renamed.

    Raises:
        InputError: if it has no address by https, or the connection fails, ends early or leads elsewhere.
        CheckpointError: if what arrives is not the published file.
        OutputError: if it cannot be written.
    """
    import hashlib

    file = FILES[key]
    if not file.address:
        raise InputError(f"The weights {file.names[0]} have no address to download from; {file.alternative}.")
    if not file.address.startswith("https://"):
        raise InputError(f"{file.address} is no address by https, which alone is downloaded from; {file.alternative}.")
    target = cache_folder() / file.names[0]

    def write(temporary: Path) -> None:
        total, digest = 0, hashlib.sha256()
        most = file.size or _LARGEST
        with _Answer(file) as answer, temporary.open("wb") as part:
            while total <= most and (block := answer.read(min(_BLOCK, most + 1 - total))):
                part.write(block)
                digest.update(block)
                total += len(block)
        _check_content(file, total, digest.hexdigest(), most)

    write_atomically(target, write)
    return target


def _check_content(file: WeightFile, total: int, sha256: str, most: int) -> None:
    if total > most:
        raise CheckpointError(
            f"{file.address} sends more than the {most:,} bytes of {file.names[0]}, so it is another file; nothing was "
            "kept."
        )
    if file.size is not None and total < file.size:
        raise InputError(
            f"{file.address} could not be downloaded (it ended after {total:,} of {file.size:,} bytes); try again, "
            f"{file.alternative}."
        )
    if sha256 != file.sha256:
        raise CheckpointError(
            f"{file.address} sends a file with sha256 {sha256[:16]}..., but {file.names[0]} has "
            f"{file.sha256[:16]}...; it is damaged, or another file of that name, and nothing was kept."
        )


class _Answer:
    """What the server sends, with one sentence for whatever goes wrong on the way; writing is not its matter."""

    def __init__(self, file: WeightFile) -> None:
        self.file = file
        self.answer: Any = None

    def __enter__(self) -> _Answer:
        try:
            self.answer = _opened(self.file.address)
        except Exception as error:  # no name, no route, no certificate, no such file, no answer in time, no HTTP
            raise self._failed(error) from None
        kind = str(self.answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            self.answer.close()
            raise InputError(
                f"{self.file.address} answers with a web page, not the file (a proxy's, or a page to sign in at?); "
                f"{self.file.alternative}."
            )
        return self

    def read(self, most: int) -> bytes:
        try:
            block: bytes = self.answer.read(most)
        except Exception as error:  # a connection that is reset, silent, or not in the form it announced
            raise self._failed(error) from None
        return block

    def __exit__(self, *_: object) -> None:
        if self.answer is not None:
            self.answer.close()

    def _failed(self, error: Exception) -> InputError:
        why = getattr(error, "reason", None)
        why = reason(why if isinstance(why, Exception) else error)
        return InputError(
            f"{self.file.address} could not be downloaded ({escaped(why)}); try again, {self.file.alternative}."
        )


class _ByHttpsAlone(HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.lower().startswith("https://"):
            raise OSError(f"it leads to {newurl[:100]}, which is no address by https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(address: str) -> Any:
    """The answer of a server, after its redirections."""
    import urllib.request

    return urllib.request.build_opener(_ByHttpsAlone()).open(address, timeout=_SECONDS)
