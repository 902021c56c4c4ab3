"""``disentangle report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle.cli.destinations import check_default, output_option
from disentangle.cli.options import note

if TYPE_CHECKING:
    from disentangle.viz.report import Section

__all__ = ["command"]

_LONGEST = 200_000  # characters of a configuration
_LARGEST = 100 * 2**20  # bytes of a picture


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option("--out", suffixes=(".html", ".htm"), help="An .html file; default: report.html in the first run.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[Path, ...], out: Path | None) -> None:
    """Curves, newest samples, scores and configuration of RUNS, as one self-contained HTML page.

    A run may be in training still. What is missing or damaged in its folder is left out, and that is said.

    \b
    Examples:
      disentangle report runs/fashion
      disentangle report runs/plain runs/nog --out compare.html
    """
    import tempfile

    from disentangle.errors import InputError
    from disentangle.viz.report import save_report

    for run in runs:
        if not (run / "config.json").is_file():
            raise InputError(f"{run} is no run folder (it has no config.json); expected the --out of a training.")
    runs = tuple(dict.fromkeys(runs))
    target = out or runs[0] / "report.html"
    if out is None:
        check_default(target)
    names = {run: run.name if run.name and len({r.name for r in runs}) == len(runs) else str(run) for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        parts = _Parts(ctx, Path(folder))
        sections = parts.training({names[run]: run for run in runs})
        sections += [parts.run(run, names[run], number) for number, run in enumerate(runs)]
        save_report(target, "Training report", sections)
    note(ctx, f"report: {target}")


class _Parts:
    """Sections of the page; what cannot be shown is said in them and on the terminal."""

    def __init__(self, ctx: click.Context, folder: Path) -> None:
        self.ctx, self.folder = ctx, folder

    def training(self, runs: Mapping[str, Path]) -> list[Section]:
        """Curves of all runs together."""
        from disentangle.errors import InputError
        from disentangle.viz.conditioning import CONDITIONING_NOTE, conditioning_rows, save_conditioning_curves
        from disentangle.viz.figures import save_training_curves
        from disentangle.viz.report import Picture, Section, Table

        lacking: list[str] = []
        stats = {name: self._stats(run, lacking) for name, run in runs.items()}
        if not any(line["step"] for lines in stats.values() for line in lines):
            lacking.append(self._left_out("No run has logged a step yet, so there are no curves."))
            return [Section("Training", lacking)]
        curves = self.folder / "curves.png"
        try:
            save_training_curves(stats, curves)
        except InputError as error:
            lacking.append(self._left_out(str(error)))
            return [Section("Training", lacking)]
        sections = [Section("Training", lacking, pictures=[Picture(curves, "Means over each logging interval.")])]
        header, rows = conditioning_rows(stats)
        if rows:
            conditioning = self.folder / "conditioning.png"
            save_conditioning_curves(stats, conditioning)
            pictures = [Picture(conditioning, CONDITIONING_NOTE)]
            sections.append(Section("Conditioning", tables=[Table(header, rows)], pictures=pictures))
        return sections

    def run(self, run: Path, name: str, number: int) -> Section:
        """Samples, scores and configuration of one run."""
        from disentangle.viz.report import Picture, Section

        lacking: list[str] = []
        pictures: list[Picture] = []
        step, samples = max(_samples(run), default=(0, None))
        if samples is not None:
            self._add(pictures, samples, f"Samples at step {step}.", lacking)
        tables, paragraphs, matrices = self._scores(run, number, lacking)
        pictures += matrices
        if (run / "confusion.png").is_file():
            self._add(pictures, run / "confusion.png", "Confusion matrix, in percent of each true class.", lacking)
        command = self._configuration(run, lacking)
        return Section(name, [*lacking, *paragraphs], command=command, tables=tables, pictures=pictures)

    def _stats(self, run: Path, lacking: list[str]) -> Sequence[Mapping[str, Any]]:
        from disentangle.errors import DisentangleError, reason
        from disentangle.io.run_stats import logged_lines
        from disentangle.viz.run_lines import well_formed

        try:
            records, unread = logged_lines(run)
            lines, damaged = well_formed(records)
            damaged += len(unread)
        except (DisentangleError, OSError, ValueError, RecursionError) as error:
            lacking.append(self._left_out(f"{run / 'stats.jsonl'} cannot be read ({reason(error)}); it is left out."))
            return []
        if damaged:
            count = "1 line" if damaged == 1 else f"{damaged} lines"
            lacking.append(self._left_out(f"Left out, for they are damaged: {count} of {run / 'stats.jsonl'}."))
        return lines

    def _scores(self, run: Path, number: int, lacking: list[str]) -> tuple[list[Any], list[str], list[Any]]:
        """Tables, explanations and pictures of a run's scores."""
        from disentangle.errors import DisentangleError
        from disentangle.evaluations import load_scores
        from disentangle.viz.matrices import save_score_matrices, score_matrix
        from disentangle.viz.report import Picture, Table
        from disentangle.viz.scores import class_rows, explanations, score_table

        if not (run / "scores.json").is_file():
            return [], [], []
        try:
            scores, subject = load_scores(run / "scores.json")
            factors = _names(subject.get("factors"))
            tables = [Table(*score_table(scores, factors))]
            if "accuracy/per-class" in scores:
                tables.append(Table(["class", "accuracy", "pictures"], class_rows(scores, _names(subject["classes"]))))
        except (DisentangleError, KeyError) as error:
            lacking.append(self._left_out(f"The scores of {run} are left out: {error}"))
            return [], [], []
        pictures = []
        if any(score_matrix(score) for score in scores.values()):
            matrices = self.folder / f"matrices-{number}.png"
            save_score_matrices(scores, factors, matrices)
            pictures.append(Picture(matrices, "What the scores are made of: codes against factors."))
        return tables, explanations(scores), pictures

    def _configuration(self, run: Path, lacking: list[str]) -> str:
        from disentangle.errors import DisentangleError
        from disentangle.json_files import read_json

        try:
            text = json.dumps(read_json(run / "config.json", what="a run's configuration"), indent=2)
        except (DisentangleError, RecursionError) as error:
            lacking.append(self._left_out(f"The configuration of {run} is left out: {error}"))
            return ""
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n..."

    def _add(self, pictures: list[Any], path: Path, caption: str, lacking: list[str]) -> None:
        from disentangle.errors import reason
        from disentangle.viz.report import Picture

        try:
            if path.stat().st_size > _LARGEST:
                raise OSError(f"it has more than {_LARGEST:,} bytes")
            if path.open("rb").read(8) != b"\x89PNG\r\n\x1a\n":
                raise OSError("it is no .png file")
        except OSError as error:
            lacking.append(self._left_out(f"The picture {path} is left out ({reason(error)})."))
            return
        pictures.append(Picture(path, caption))

    def _left_out(self, sentence: str) -> str:
        note(self.ctx, sentence)
        return sentence


def _samples(run: Path) -> list[tuple[int, Path]]:
    """(step, picture) of what a training has drawn; other files in its folder are none of it."""
    try:
        found = list((run / "samples").iterdir())
    except OSError:
        return []
    steps = [path for path in found if path.suffix == ".png" and path.stem.isascii() and path.stem.isdecimal()]
    return [(int(path.stem), path) for path in steps if len(path.stem) < 19 and path.is_file()]


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []
