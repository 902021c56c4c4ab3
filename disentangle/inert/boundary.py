"""The one place where whatever a damaged file makes decoders, numpy, torch and the system raise becomes a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from disentangle.errors import CheckpointError, DisentangleError, reason
from disentangle.inert.nodes import DamagedError, LimitError

__all__ = ["reading"]

_OWN = (NameError, ImportError, SyntaxError)  # no content of a file makes these: they are mistakes here


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Everything that touches the content of a file goes inside.

    Errors of the toolkit pass, and so do those that no content can cause. Every other exception is taken for the
    file's fault and becomes the cause of the error, so that a mistake of our own can still be found.

    Args:
        path: the file.
        what: it looks like, as in "a pickle".

    Raises:
        CheckpointError: for every exception but those.
    """
    try:
        yield
    except (DisentangleError, *_OWN):
        raise
    except LimitError as error:
        raise CheckpointError(
            f"{path} looks like {what}, but {error}. If you trust it to be what it should be, allow it more "
            "(`disentangle.inert.Limits`, `disentangle convert --allow`)."
        ) from None
    except DamagedError as error:
        raise CheckpointError(f"{path} looks like {what}, but {error}. {error.advice}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); look at its disk and permissions.") from error
    except MemoryError as error:
        raise CheckpointError(f"{path} looks like {what}, but there is no memory left to read it.") from error
    except Exception as error:
        raise CheckpointError(
            f"{path} looks like {what}, but is not laid out as such a file is ({type(error).__name__}: "
            f"{reason(error)}); it is damaged, or of a variant that is not known."
        ) from error
