"""What the toolkit measures. Arrays, images or callables go in, a :class:`Score` comes out.

Nothing here knows the toolkit's own models: a metric takes ``codes (n, d)`` and ``factors (n, k)``, features, images,
or a callable.
"""

from disentangle.evaluations.disentanglement import dci, evaluate, mig, sap
from disentangle.evaluations.encoding import encode_dataset
from disentangle.evaluations.score import Score, load_scores, save_scores

__all__ = ["Score", "dci", "encode_dataset", "evaluate", "load_scores", "mig", "sap", "save_scores"]
