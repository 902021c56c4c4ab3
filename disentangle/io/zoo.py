"""The registry of pretrained models: what each is, where it comes from, and the hash of its file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pydantic

from disentangle.config import Config, parse_config
from disentangle.errors import CheckpointError, unknown_name
from disentangle.json_files import read_json

__all__ = ["ZooEntry", "zoo_entries", "zoo_entry"]


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
        return (_folder() / "cards" / f"{self.name}.md").read_text(encoding="utf-8")


def zoo_entries() -> list[ZooEntry]:
    """All registered models, in the registry's order."""
    records = read_json(_folder() / "registry.json", what="the registry of bundled models", error=CheckpointError)
    if not isinstance(records, list):
        raise CheckpointError("pretrained/registry.json is no list of models; install the package anew.")
    return [parse_config(ZooEntry, record, source="pretrained/registry.json") for record in records]


def zoo_entry(name: str) -> ZooEntry:
    """One registered model by name.

    Raises:
        InputError: if there is none; the nearest names are suggested.
    """
    entries = {entry.name: entry for entry in zoo_entries()}
    if name not in entries:
        raise unknown_name("model", name, entries)
    return entries[name]


def _folder() -> Path:
    return Path(str(resources.files("disentangle.pretrained")))
