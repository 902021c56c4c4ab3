"""The command line. Command modules are imported when they are used, and torch inside their functions."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import warnings
from typing import Any

import click

from disentangle._version import __version__
from disentangle.cli.failures import told, wants_tracebacks
from disentangle.cli.options import DEVICE, SEED, refuse_root_seed
from disentangle.cli.results import EscapedMessages
from disentangle.errors import DisentangleError

__all__ = ["cli", "main"]

# name -> (module, one line for the list of commands)
_COMMANDS = {
    "quickstart": ("quickstart", "Traversals and scores of the bundled models, in one report."),
    "train": ("train", "Train a GAN, a VAE or a classifier; give a generator orthogonal projections."),
    "sample": ("sample", "Pictures of random latents."),
    "traverse": ("traverse", "Pictures along the directions of a latent space."),
    "convert": ("convert", "Another project's checkpoint as a model file; no code in it is run."),
    "bake": ("bake", "A trained model as one of ordinary layers, or as an ONNX file for other runtimes."),
    "directions": ("directions", "Find, name and list directions of a latent space."),
    "turn": ("turn", "The same generator with its latents rotated to its Jacobian's axes."),
    "invert": ("invert", "The latents from which a model makes given photos."),
    "evaluate": ("evaluate", "Scores of a model, of codes and factors, or of images."),
    "compare": ("compare", "Scores of two files side by side, if they were measured alike."),
    "predict": ("predict", "What a trained classifier takes pictures for."),
    "report": ("report", "Curves and pictures of finished or running trainings, as one HTML page."),
    "data": ("data", "List data sets, look at their pictures."),
    "models": ("models", "List the bundled models, fetch published ones, show what a model is."),
    "doctor": ("doctor", "Versions, devices, optional packages and data on this machine."),
}


class _LazyGroup(click.Group):
    """Lists commands without importing their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"disentangle.cli.{_COMMANDS[name][0]}")
        return module.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No command {args[0]!r}.{hint}", ctx)
        found = super().resolve_command(ctx, args)
        refuse_root_seed(ctx, found[1], found[2])
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="disentangle")
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=SEED, default=None, help="Seed of everything random; commands default to 0.")
@click.option("-v", "--verbose", count=True, help="More messages; twice for debugging, with tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Only results and errors.")
@click.pass_context
def cli(ctx: click.Context, device: str, seed: int | None, verbose: int, quiet: bool) -> None:
    """Independent directions in image generators: train, find, show and measure them.

    MODEL, wherever it is asked for, is the name of a bundled model, a run folder or a .safetensors file. In its place a
    module of your own is taken by --generator module:function, where a generator is asked for.

    \b
    Examples:
      disentangle quickstart
      disentangle traverse vae-rooms --out walk.png
    """
    ctx.obj = {"device": device, "seed": seed, "quiet": quiet, "verbose": verbose}
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    messages = logging.StreamHandler(sys.stderr)
    messages.setFormatter(EscapedMessages())
    logging.basicConfig(level=level, handlers=[messages])
    # What Pillow notes of odd tags in somebody's picture, once for each: thousands of lines.
    warnings.filterwarnings("ignore", module=r"PIL\b")
    # What torch says of its own forward mode.
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script", module=r"torch\b")


def main(args: list[str] | None = None) -> Any:
    """Entry point: prints one sentence for an expected failure and exits with 1, with 2 for wrong usage."""
    tracebacks = wants_tracebacks(sys.argv[1:] if args is None else args)
    joined = _process_group() is not None  # by a caller in Python, who ends it
    try:
        with told(tracebacks=tracebacks), warnings.catch_warnings():
            warnings.showwarning = _tell_warning
            status = cli.main(args, prog_name="disentangle", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except DisentangleError as error:
        with contextlib.suppress(OSError):  # after SIGHUP there may be no terminal left
            click.echo(f"Error: {error}", err=True)
        sys.exit(getattr(error, "exit_status", 1))  # of a training that a signal stopped: 128 and its number
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # The threads of what ``torchrun`` has connected, met by the interpreter's end, sometimes abort the process.
        group = None if joined else _process_group()
        if group is not None:
            group.destroy_process_group()


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A library's warning as a message like ours: one line, without the source text, and none with --quiet."""
    logging.getLogger("disentangle.warnings").warning("%s", message)


def _process_group() -> Any:
    """torch.distributed, if this process has joined others; torch is not imported for the question."""
    distributed = sys.modules.get("torch.distributed")
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None
