"""What each disentanglement score means, in a sentence or two."""

from __future__ import annotations

__all__ = ["explain"]

_EXPLANATIONS = {
    "mig": (
        "MIG, mutual information gap: for each factor, how much more the best code tells about it than the second "
        "best, as a share of all there is to tell; 1 if every factor has one code of its own, 0 if two share it."
    ),
    "rmig": (
        "RMIG, robust MIG: the gap of MIG without assuming that every combination of factors occurs equally often."
    ),
    "mig-sup": (
        "MIG-sup: for each code, how much more it tells about its best factor than about the second best; 1 if no "
        "code mixes factors. Codes that tell nothing count as 0."
    ),
    "jemmig": (
        "JEMMIG: one less the uncertainty about a factor together with its best code, less that code's gap, as a "
        "share of the most there could be; high if each factor has one code and that code tells nothing else."
    ),
    "dcimig": (
        "DCIMIG: the gap of each code at its own factor, added up over factors, as a share of the factors' entropy."
    ),
    "aam": (
        "AAM, axis alignment: for each factor, the best code's information less that of all others together, not "
        "below 0."
    ),
    "sap": (
        "SAP, separated attribute predictability: for each factor, how much better a linear classifier on the best "
        "single code does than one on the second best; even a perfect code stays far below 1, since one number "
        "cannot separate many classes linearly."
    ),
    "dci": (
        "DCI: a model predicts each factor from all codes. Disentanglement is 1 if every code serves one factor, "
        "completeness is 1 if every factor is served by one code, informativeness is how well they are predicted."
    ),
    "dci-es": (
        "DCI-ES: explicitness is 1 if the smallest model already predicts the factors from the codes, 0 if only "
        "the largest does; a factor that none learns has 1 too, so read it beside the loss. Size is the number of "
        "factors over the number of codes."
    ),
    "modularity": (
        "Modularity: 1 if each code tells about one factor alone; codes that tell nothing count as 0, so spare "
        "codes lower it, and noise alone scores about two thirds."
    ),
    "explicitness": (
        "Explicitness: how well a logistic regression on all codes tells the values of each factor (area under ROC)."
    ),
    "irs": (
        "IRS, interventional robustness: 1 if a code keeps its value whatever the other factors do; a code with a "
        "small range scores high without telling anything."
    ),
    "infom": (
        "InfoM, modularity of InfoMEC: the share of each live code's information that is about one factor; 1 is best."
    ),
    "infoc": ("InfoC, compactness of InfoMEC: the share of each factor's information that is in one code; 1 is best."),
    "infoe": (
        "InfoE, explicitness of InfoMEC: how much of each factor a linear model reads from all codes; 1 is best."
    ),
    "med": (
        "MED: disentanglement and completeness as in DCI, with mutual information in place of a model's importances."
    ),
    "topk-med": (
        "Top-k MED: MED of the codes that tell most purely about one factor, for representations with many codes."
    ),
    "downstream": (
        "Downstream accuracy: held-out accuracy of a classifier on the codes, by the number of points it learns from."
    ),
    "mcc": (
        "MCC, mean correlation coefficient: codes and factors paired one to one as well as possible, the mean "
        "absolute correlation of the pairs; 1 if every factor is a code up to scale and sign."
    ),
    "r2": ("R2: the share of each factor's variance that a linear map of all codes explains."),
    "total-correlation": ("Total correlation of the codes, taken as Gaussian, in nats: 0 if they are uncorrelated."),
    "wasserstein-correlation": (
        "Wasserstein correlation: distance of the codes, taken as Gaussian, from uncorrelated ones; 0 is best."
    ),
    "pairwise-information": (
        "Mean mutual information of two different codes, in nats: 0 if they are independent in pairs."
    ),
    "active-units": ("Active units: the number of codes whose variance over the data exceeds 0.01."),
    "beta-vae": (
        "Beta-VAE score: a linear classifier names the factor held fixed from the mean difference of codes; it is "
        "1 for many representations that mix factors."
    ),
    "factor-vae": (
        "FactorVAE score: the code that varies least names the factor held fixed, by majority vote; it is 1 for "
        "many representations that mix factors."
    ),
    "z-max-variance": (
        "Z-max variance: the code that varies most names the one factor that is free, by majority vote."
    ),
    "fairness": (
        "Unfairness: how much a prediction of one factor moves when another is changed, as total variation; 0 is best."
    ),
}


def explain(name: str) -> str:
    """The sentence for a score's name (what stands after a slash in it is a variant), or an empty one."""
    return _EXPLANATIONS.get(name.partition("/")[0], "")
