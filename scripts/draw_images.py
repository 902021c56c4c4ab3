"""The pictures that the README shows, drawn by the commands beside them: python scripts/draw_images.py [RUNS]

Those of networks that are not here are left as they are: `disentangle models fetch faces-dcgan` brings one, the
README's first training another, into RUNS (by default runs/).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner

from disentangle.cli import cli

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def disentangle(*words: object) -> None:
    """One command; its failure is this script's."""
    result = CliRunner().invoke(cli, list(map(str, words)), catch_exceptions=False)
    if result.exit_code:
        sys.exit(result.output)


def main(runs: Path) -> None:
    from disentangle.io import published_entries

    disentangle("traverse", "vae-rooms", "--dims", "5,7,9,2", "--seeds", 2, "--extent", 2.5,
                "--out", IMAGES / "vae-rooms.png")  # fmt: skip
    disentangle("evaluate", "vae-rooms", "--data", "rooms", "--num", 6000, "--no-baselines",
                "--figure", IMAGES / "matrices.png")  # fmt: skip
    if any(entry.name == "faces-dcgan" and entry.path.exists() for entry in published_entries()):
        with tempfile.TemporaryDirectory() as folder:
            faces = Path(folder) / "faces.safetensors"
            disentangle("directions", "find", "faces-dcgan", "--method", "sefa", "--top", 6, "--out", faces)
            disentangle("directions", "label", faces, "0=which side", "1=head pose", "4=light")
            disentangle("traverse", "faces-dcgan", "--directions", faces, "--dims", "0,1,4", "--seeds", "1,7",
                        "--steps", 7, "--extent", 2.5, "--truncation", 0.8,
                        "--out", IMAGES / "faces-dcgan.png")  # fmt: skip
    if (runs / "fashion" / "config.json").is_file():
        disentangle("traverse", runs / "fashion", "--active", 10, "--truncation", 0.7, "--out", IMAGES / "fashion.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs"))
