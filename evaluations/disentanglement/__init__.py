"""Metrics of disentanglement: how a representation's codes ``(n, d)`` relate to known factors ``(n, k)``."""

from disentangle.evaluations.disentanglement.dci import dci
from disentangle.evaluations.disentanglement.mig import mig
from disentangle.evaluations.disentanglement.sap import sap
from disentangle.evaluations.disentanglement.suite import evaluate, evaluate_encoder

__all__ = ["dci", "evaluate", "evaluate_encoder", "mig", "sap"]
