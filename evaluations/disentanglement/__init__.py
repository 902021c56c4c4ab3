"""Metrics of disentanglement: how a representation's codes ``(n, d)`` relate to known factors ``(n, k)``."""

from disentangle.evaluations.disentanglement.aam import aam
from disentangle.evaluations.disentanglement.dci import dci
from disentangle.evaluations.disentanglement.dcimig import dcimig
from disentangle.evaluations.disentanglement.explicitness import explicitness
from disentangle.evaluations.disentanglement.gaussian_correlation import (
    pairwise_information,
    total_correlation,
    wasserstein_correlation,
)
from disentangle.evaluations.disentanglement.irs import irs
from disentangle.evaluations.disentanglement.jemmig import jemmig
from disentangle.evaluations.disentanglement.med import med, topk_med
from disentangle.evaluations.disentanglement.mig import mig
from disentangle.evaluations.disentanglement.mig_sup import mig_sup
from disentangle.evaluations.disentanglement.modularity import modularity
from disentangle.evaluations.disentanglement.registry import METRICS
from disentangle.evaluations.disentanglement.rmig import rmig
from disentangle.evaluations.disentanglement.sap import sap
from disentangle.evaluations.disentanglement.suite import evaluate, evaluate_encoder

__all__ = [
    "METRICS",
    "aam",
    "dci",
    "dcimig",
    "evaluate",
    "evaluate_encoder",
    "explicitness",
    "irs",
    "jemmig",
    "med",
    "mig",
    "mig_sup",
    "modularity",
    "pairwise_information",
    "rmig",
    "sap",
    "topk_med",
    "total_correlation",
    "wasserstein_correlation",
]
