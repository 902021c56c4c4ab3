"""``disentangle report``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from disentangle.cli.options import note

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="An .html file; default: report.html in the first run.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[Path, ...], out: Path | None) -> None:
    """Curves, newest samples, scores and configuration of RUNS, as one self-contained HTML page.

    \b
    Examples:
      disentangle report runs/fashion
      disentangle report runs/plain runs/nog --out compare.html
    """
    import tempfile

    from disentangle.errors import InputError
    from disentangle.evaluations import load_scores
    from disentangle.io.runs import read_stats
    from disentangle.viz.conditioning import CONDITIONING_NOTE, conditioning_rows, save_conditioning_curves
    from disentangle.viz.figures import save_training_curves
    from disentangle.viz.matrices import save_score_matrices, score_matrix
    from disentangle.viz.report import Picture, Section, Table, save_report
    from disentangle.viz.scores import class_rows, explanations, score_table

    for run in runs:
        if not (run / "config.json").is_file():
            raise InputError(f"{run} is no run folder (it has no config.json); expected the --out of a training.")
    names = {run: run.name if len({r.name for r in runs}) == len(runs) else str(run) for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "curves.png"
        stats = {names[run]: read_stats(run) for run in runs}
        save_training_curves(stats, curves)
        sections = [Section("Training", pictures=[Picture(curves, "Means over each logging interval.")])]
        header, rows = conditioning_rows(stats)
        if rows:
            conditioning = Path(folder) / "conditioning.png"
            save_conditioning_curves(stats, conditioning)
            pictures = [Picture(conditioning, CONDITIONING_NOTE)]
            sections.append(Section("Conditioning", tables=[Table(header, rows)], pictures=pictures))
        for number, run in enumerate(runs):
            samples = sorted((run / "samples").glob("*.png"))
            pictures = [Picture(samples[-1], f"Samples at step {int(samples[-1].stem)}.")] if samples else []
            tables, paragraphs = [], []
            if (run / "scores.json").is_file():
                scores, subject = load_scores(run / "scores.json")
                factors = subject.get("factors", ())
                tables.append(Table(*score_table(scores, factors)))
                paragraphs = explanations(scores)
                if any(score_matrix(score) for score in scores.values()):
                    matrices = Path(folder) / f"matrices-{number}.png"
                    save_score_matrices(scores, factors, matrices)
                    pictures.append(Picture(matrices, "What the scores are made of: codes against factors."))
                if "accuracy/per-class" in scores:
                    tables.append(Table(["class", "accuracy", "pictures"], class_rows(scores, subject["classes"])))
            if (run / "confusion.png").is_file():
                pictures.append(Picture(run / "confusion.png", "Confusion matrix, in percent of each true class."))
            config = json.loads((run / "config.json").read_text(encoding="utf-8"))
            command = json.dumps(config, indent=2)
            sections.append(Section(names[run], paragraphs, command=command, tables=tables, pictures=pictures))
        target = out or runs[0] / "report.html"
        save_report(target, "Training report", sections)
    note(ctx, f"report: {target}")
