"""All metrics by name: of codes and factors, and of a representation to be asked for more codes."""

from __future__ import annotations

from typing import TypeVar

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.aam import METRIC as AAM
from disentangle.evaluations.disentanglement.active_units import METRIC as ACTIVE_UNITS
from disentangle.evaluations.disentanglement.beta_vae import METRIC as BETA_VAE
from disentangle.evaluations.disentanglement.dci import LASSO as DCI_LASSO
from disentangle.evaluations.disentanglement.dci import METRIC as DCI
from disentangle.evaluations.disentanglement.dci import RANDOM_FOREST as DCI_RANDOM_FOREST
from disentangle.evaluations.disentanglement.dci_es import METRIC as DCI_ES
from disentangle.evaluations.disentanglement.dcimig import METRIC as DCIMIG
from disentangle.evaluations.disentanglement.downstream import LOGISTIC as DOWNSTREAM_LOGISTIC
from disentangle.evaluations.disentanglement.downstream import METRIC as DOWNSTREAM
from disentangle.evaluations.disentanglement.explicitness import METRIC as EXPLICITNESS
from disentangle.evaluations.disentanglement.factor_vae import METRIC as FACTOR_VAE
from disentangle.evaluations.disentanglement.factor_vae import Z_MAX
from disentangle.evaluations.disentanglement.fairness import METRIC as FAIRNESS
from disentangle.evaluations.disentanglement.gaussian_correlation import METRIC as GAUSSIAN_CORRELATION
from disentangle.evaluations.disentanglement.gaussian_correlation import PAIRWISE as GAUSSIAN_CORRELATION_PAIRWISE
from disentangle.evaluations.disentanglement.gaussian_correlation import WASSERSTEIN as GAUSSIAN_CORRELATION_WASSERSTEIN
from disentangle.evaluations.disentanglement.infomec import INFOC, INFOE, INFOM
from disentangle.evaluations.disentanglement.intervention import InterventionalMetric
from disentangle.evaluations.disentanglement.irs import METRIC as IRS
from disentangle.evaluations.disentanglement.jemmig import METRIC as JEMMIG
from disentangle.evaluations.disentanglement.mcc import METRIC as MCC
from disentangle.evaluations.disentanglement.mcc import R2 as MCC_R2
from disentangle.evaluations.disentanglement.mcc import RANK as MCC_RANK
from disentangle.evaluations.disentanglement.med import METRIC as MED
from disentangle.evaluations.disentanglement.med import TOP_K as MED_TOP_K
from disentangle.evaluations.disentanglement.metric import Metric
from disentangle.evaluations.disentanglement.mig import METRIC as MIG
from disentangle.evaluations.disentanglement.mig_sup import METRIC as MIG_SUP
from disentangle.evaluations.disentanglement.modularity import METRIC as MODULARITY
from disentangle.evaluations.disentanglement.rmig import METRIC as RMIG
from disentangle.evaluations.disentanglement.sap import METRIC as SAP
from disentangle.plugins import Registry

__all__ = ["INTERVENTIONAL", "METRICS", "register"]


def _of_arrays() -> tuple[Metric, ...]:
    return (
        MIG,
        RMIG,
        MIG_SUP,
        JEMMIG,
        DCIMIG,
        AAM,
        SAP,
        DCI,
        DCI_LASSO,
        DCI_RANDOM_FOREST,
        DCI_ES,
        MODULARITY,
        EXPLICITNESS,
        IRS,
        INFOM,
        INFOC,
        INFOE,
        MED,
        MED_TOP_K,
        DOWNSTREAM,
        DOWNSTREAM_LOGISTIC,
        MCC,
        MCC_RANK,
        MCC_R2,
        GAUSSIAN_CORRELATION,
        GAUSSIAN_CORRELATION_WASSERSTEIN,
        GAUSSIAN_CORRELATION_PAIRWISE,
        ACTIVE_UNITS,
    )


METRICS = Registry("metric", Metric, _of_arrays)
INTERVENTIONAL = Registry("metric", InterventionalMetric, lambda: (BETA_VAE, FACTOR_VAE, Z_MAX, FAIRNESS))

R = TypeVar("R", Metric, InterventionalMetric)


def register(metric: R) -> R:
    """Add a metric of your own to what ``evaluate``, ``evaluate_encoder`` and the command line know by name.

    Raises:
        InputError: its name is taken, by a metric of the other kind too, or a part is missing.
    """
    ours, other = (METRICS, INTERVENTIONAL) if isinstance(metric, Metric) else (INTERVENTIONAL, METRICS)
    if getattr(metric, "name", None) in other:
        raise InputError(f"The metric {metric.name!r} exists already; choose another name.")
    return ours.register(metric)
