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
    from disentangle.viz.run_summary import RunRecord

__all__ = ["command"]

_LONGEST = 200_000  # characters of a configuration
_LARGEST = 100 * 2**20  # bytes of a picture
_MOST_FILES = 8  # of scores, and confusion matrices


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option("--out", suffixes=(".html", ".htm"), help="An .html file; default: report.html in the first run.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[Path, ...], out: Path | None) -> None:
    """What RUNS are and came to, as one self-contained HTML page.

    Command, date, duration and speed, the last numbers, curves, samples, a traversal, scores and the configuration; of
    several runs, what differs.

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
        records = {run: parts.record(run, name) for run, name in names.items()}
        several = list(records.values())
        sections = [parts.summary(several), *parts.curves(several)]
        for number, (run, record) in enumerate(records.items()):
            sections += parts.pictures(run, record, number, alone=len(runs) == 1)
        sections.append(parts.configurations(several))
        title = " and ".join(names.values()) if len(names) <= _MOST_NAMED else f"{len(names)} runs"
        lead = "A training" if len(names) == 1 else "Trainings"
        save_report(target, title, sections, lead=f"{lead} by disentangle.")
    note(ctx, f"report: {target}")


_MOST_NAMED = 4  # runs up to which the title names them
_LONGEST_NAME = 80  # characters of a factor or class that a file names
_PROGRESS = 4  # earlier samples that are shown
_LARGEST_DRAWN = 256  # pixels of a side up to which a traversal takes seconds
_MANY_AXES = 64


class _Parts:
    """Sections of the page; what cannot be shown is said in them and on the terminal."""

    def __init__(self, ctx: click.Context, folder: Path) -> None:
        self.ctx, self.folder = ctx, folder
        self.lacking: dict[str, list[str]] = {}
        self.of_scores: dict[str, list[Section]] = {}

    def record(self, run: Path, name: str) -> RunRecord:
        """What can be read of a run."""
        from disentangle.viz.run_summary import RunRecord

        lacking: list[str] = []
        self.lacking[name] = lacking
        lines = self._stats(run, lacking)
        config = self._json(run / "config.json", "configuration", run, lacking)
        environment = self._json(run / "environment.json", "environment", run, lacking)
        return RunRecord(name, lines, config, environment, self._scores(run, name, lacking))

    def summary(self, records: Sequence[RunRecord]) -> Section:
        """What the runs are, and the numbers they ended with."""
        from disentangle.viz.report import Section, Table
        from disentangle.viz.run_summary import command_of, number_rows, summary_rows

        names = [record.name for record in records]
        heads = ["", *names] if len(names) > 1 else ["", ""]
        tables = [Table(heads, summary_rows(records), prose=True)]
        numbers = number_rows(records)
        if numbers:
            tables.append(Table(heads, numbers, title="Final numbers"))
        commands = list(dict.fromkeys(filter(None, map(command_of, records))))
        return Section("", command="\n".join(commands), tables=tables)

    def curves(self, records: Sequence[RunRecord]) -> list[Section]:
        """Curves of all runs together."""
        from disentangle.errors import InputError
        from disentangle.viz.conditioning import CONDITIONING_NOTE, conditioning_rows, save_conditioning_panels
        from disentangle.viz.figures import save_training_panels
        from disentangle.viz.report import Picture, Section, Table

        stats = {record.name: record.lines for record in records}
        if not any(line["step"] for lines in stats.values() for line in lines):
            return [Section("Training", [self._left_out("No run has logged a step yet, so there are no curves.")])]
        try:
            panels = save_training_panels(stats, self.folder)
        except InputError as error:
            return [Section("Training", [self._left_out(str(error))])]
        pictures = [Picture(path, "", narrow=True, alt=title) for title, path in panels]
        sections = [Section("Training", ["Means over each logging interval."], pictures=pictures)]
        header, rows = conditioning_rows(stats)
        if rows:
            panels = save_conditioning_panels(stats, self.folder)
            drawn = [Picture(path, "", narrow=True, alt=title) for title, path in panels]
            table = Table(header, rows)
            sections.append(Section("Conditioning", tables=[table], pictures=drawn, notes=[CONDITIONING_NOTE]))
        return sections

    def pictures(self, run: Path, record: RunRecord, number: int, *, alone: bool) -> list[Section]:
        """Samples and how they became so, a traversal, and scores of one run, and what is lacking."""
        from disentangle.viz.report import Section

        lacking = self.lacking[record.name]
        newest: list[Any] = []
        before: list[Any] = []
        found = sorted(_samples(run))
        if found:
            step, path = found.pop()
            self._add(newest, path, f"Samples at step {step}.", lacking, pixels=True)
        for index in sorted({round(i * (len(found) - 1) / (_PROGRESS - 1)) for i in range(_PROGRESS)} if found else ()):
            self._add(before, found[index][1], f"Step {found[index][0]}.", lacking, narrow=True)
        for _, path in self._traversal(run, record, number, lacking):
            self._add(newest, path, "Traversal of the newest checkpoint: each row moves along one of its own axes, and "
                      "holds everything else.", lacking, pixels=True)  # fmt: skip
        scores = self.of_scores.get(record.name, [])
        for path in sorted(run.glob("confusion*.png"))[:_MOST_FILES]:
            self._add(newest, path, f"Confusion matrix ({path.name}), in per cent of each true class.", lacking)
        title = "Pictures" if alone else record.name
        sections = [Section(title, lacking, pictures=newest)] if newest or lacking or not alone else []
        if before:
            sections.append(Section("Samples on the way" if alone else f"{record.name}: samples on the way",
                                    pictures=before))  # fmt: skip
        return sections + scores

    def configurations(self, records: Sequence[RunRecord]) -> Section:
        """Where the configurations differ, and all of them, folded."""
        from disentangle.viz.report import Section, Table
        from disentangle.viz.run_summary import configuration_rows

        tables, paragraphs = [], []
        if len(records) > 1:
            rows = configuration_rows(records)
            if rows:
                tables.append(Table(["field", *(record.name for record in records)], rows, title="What differs"))
            else:
                paragraphs.append("The runs have one configuration.")
        details = [
            (f"Configuration of {record.name}" if len(records) > 1 else "The whole configuration", _text(record.config))
            for record in records
            if record.config
        ]
        return Section("Configuration", paragraphs, tables=tables, details=details)

    def _traversal(self, run: Path, record: RunRecord, number: int, lacking: list[str]) -> list[tuple[str, Path]]:
        """A grid of the newest checkpoint's strongest axes, where it has any."""
        import torch

        from disentangle.errors import DisentangleError
        from disentangle.io import load
        from disentangle.io.run_checkpoints import checkpoints
        from disentangle.latents import basis, most_active, sefa, start_columns, traverse
        from disentangle.models import Generator
        from disentangle.viz import save_grid

        if record.config.get("kind") == "classifier":
            return []
        try:
            if not checkpoints(run):
                return []
            generator: Any = load(run)
            if not isinstance(generator, Generator):
                return []
            if getattr(generator.config, "resolution", 0) > _LARGEST_DRAWN:  # type: ignore[attr-defined]
                lacking.append(f"A traversal of pictures so large takes its time: `disentangle traverse {run}`.")
                return []
            if getattr(generator, "c_dim", 0) and getattr(generator, "label", None) is None:
                lacking.append(f"A traversal of one class of it: `disentangle traverse {run} --label 0`.")
                return []
            axes = basis(generator)
            few = len(axes) <= _MANY_AXES
            chosen = most_active(generator, axes, top=min(8, len(axes))) if few else sefa(generator, top=8)
            walks = traverse(generator, chosen, extent=2.5, steps=9)
            positions = torch.linspace(-2.5, 2.5, 9)
            set_in_z = chosen.method == "basis" and chosen.space == "z"
            marked = start_columns(generator, chosen, positions, seeds=[0]) if set_in_z else [4] * len(chosen)
            path = self.folder / f"traversal-{number}.png"
            save_grid(
                walks[0], path, row_labels=chosen.labels, marked=marked,
                column_labels=[f"{position:+.1f}" for position in positions.tolist()],
            )  # fmt: skip
        except DisentangleError as error:
            lacking.append(self._left_out(f"There is no traversal of {run}: {error}"))
            return []
        return [(record.name, path)]

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

    def _scores(self, run: Path, name: str, lacking: list[str]) -> dict[str, Any]:
        """The scores in a run's folder, of which sections are made."""
        from disentangle.errors import DisentangleError
        from disentangle.evaluations import load_scores
        from disentangle.viz.score_page import score_section

        every: dict[str, Any] = {}
        for path in [*sorted(run.glob("scores*.json")), *sorted(run.glob("image_scores*.json"))][:_MOST_FILES]:
            try:
                scores, subject = load_scores(path)
                told = [f", {key} {''.join(_names([subject[key]]))}" for key in ("data", "split") if subject.get(key)]
                section = score_section(
                    scores, _names(subject.get("factors")), f"Scores of {name}{''.join(told)}", folder=self.folder,
                    prefix=f"{sum(map(len, self.of_scores.values()))}-{path.stem}",
                    classes=_names(subject.get("classes")),
                )  # fmt: skip
            except (DisentangleError, KeyError) as error:
                lacking.append(self._left_out(f"The scores of {path} are left out: {error}"))
                continue
            self.of_scores.setdefault(name, []).append(section)
            tail = path.stem.removeprefix("scores").strip("-")
            every |= {f"{key} ({tail})" if tail and path.stem.startswith("scores") else key: score
                      for key, score in scores.items()}  # fmt: skip
        return every

    def _json(self, path: Path, what: str, run: Path, lacking: list[str]) -> Mapping[str, Any]:
        from disentangle.errors import DisentangleError
        from disentangle.json_files import read_json

        try:
            record = read_json(path, what=f"a run's {what}")
        except (DisentangleError, RecursionError) as error:
            lacking.append(self._left_out(f"The {what} of {run} is left out: {error}"))
            return {}
        return record if isinstance(record, dict) else {}

    def _add(self, pictures: list[Any], path: Path, caption: str, lacking: list[str], **how: Any) -> None:
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
        pictures.append(Picture(path, caption, **how))

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


def _text(config: Mapping[str, Any]) -> str:
    text = json.dumps(config, indent=2)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n..."


def _names(value: Any) -> list[str]:
    from disentangle.text import shown

    names = value if isinstance(value, (list, tuple)) else []
    return [name[:_LONGEST_NAME] if isinstance(name, str) else shown(name, most=_LONGEST_NAME) for name in names]
