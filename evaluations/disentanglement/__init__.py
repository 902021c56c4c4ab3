"""Metrics of disentanglement: how a representation's codes ``(n, d)`` relate to known factors ``(n, k)``."""

from disentangle.evaluations.disentanglement.aam import aam
from disentangle.evaluations.disentanglement.active_units import active_units, divergence_from_prior
from disentangle.evaluations.disentanglement.beta_vae import beta_vae
from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.dci import dci
from disentangle.evaluations.disentanglement.dci_es import dci_es
from disentangle.evaluations.disentanglement.dcimig import dcimig
from disentangle.evaluations.disentanglement.dependence import factor_dependence
from disentangle.evaluations.disentanglement.downstream import downstream
from disentangle.evaluations.disentanglement.explicitness import explicitness
from disentangle.evaluations.disentanglement.factor_vae import factor_vae, z_max_variance
from disentangle.evaluations.disentanglement.fairness import fairness
from disentangle.evaluations.disentanglement.gaussian_correlation import (
    pairwise_information,
    total_correlation,
    wasserstein_correlation,
)
from disentangle.evaluations.disentanglement.infomec import infoc, infoe, infom
from disentangle.evaluations.disentanglement.irs import irs
from disentangle.evaluations.disentanglement.jemmig import jemmig
from disentangle.evaluations.disentanglement.mcc import mcc, r2
from disentangle.evaluations.disentanglement.med import med, topk_med
from disentangle.evaluations.disentanglement.metric import Metric
from disentangle.evaluations.disentanglement.mig import mig
from disentangle.evaluations.disentanglement.mig_density import mig_density
from disentangle.evaluations.disentanglement.mig_sup import mig_sup
from disentangle.evaluations.disentanglement.modularity import modularity
from disentangle.evaluations.disentanglement.registry import METRICS, register
from disentangle.evaluations.disentanglement.rmig import rmig
from disentangle.evaluations.disentanglement.sap import sap
from disentangle.evaluations.disentanglement.suite import evaluate, evaluate_encoder
from disentangle.evaluations.disentanglement.udr import udr

__all__ = [
    "METRICS",
    "CodeTable",
    "Metric",
    "aam",
    "active_units",
    "beta_vae",
    "dci",
    "dci_es",
    "dcimig",
    "divergence_from_prior",
    "downstream",
    "evaluate",
    "evaluate_encoder",
    "explicitness",
    "factor_dependence",
    "factor_vae",
    "fairness",
    "infoc",
    "infoe",
    "infom",
    "irs",
    "jemmig",
    "mcc",
    "med",
    "mig",
    "mig_density",
    "mig_sup",
    "modularity",
    "pairwise_information",
    "r2",
    "register",
    "rmig",
    "sap",
    "topk_med",
    "total_correlation",
    "udr",
    "wasserstein_correlation",
    "z_max_variance",
]


def __dir__() -> list[str]:
    return sorted(__all__)
