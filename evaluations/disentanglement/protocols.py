"""Named protocols: under one name, the choices that one source made wherever they move a score's value.

Which metrics a protocol defines, and with which options, stands in each metric's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from disentangle.errors import ArgumentError, unknown_name

__all__ = ["PROTOCOLS", "Protocols", "protocol_options"]

Protocols = Mapping[str, Mapping[str, Any]]  # protocol -> options; the first is a metric's default

PROTOCOLS = {
    "dlib-2018": "Locatello et al., ICML 2019, with the settings of its library disentanglement_lib",
    "disent": "the library disent, 0.8",
    "ubisoft-2023": "Carbonneau et al., TNNLS 2022, its published code called with 20 bins, as many as dlib-2018 has",
    "dcf-2023": "Roth et al., ICLR 2023, with the settings of its published code",
    "infomec-2023": "Hsu et al., NeurIPS 2023",
    "tripod-2024": "Hsu et al., ICML 2024",
    "med-2022": "Cao et al., NeurIPS 2022",
    "dci-es-2023": "Eastwood et al., ICLR 2023",
    "burda-2016": "Burda et al., ICLR 2016",
    "chen-2018": "Chen et al., NeurIPS 2018",
    "identifiability": "the definition common in papers on nonlinear independent component analysis",
}


def protocol_options(
    metric: str, protocols: Protocols, protocol: str | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Options of a metric under ``protocol``, with those replaced that are given (not None).

    Args:
        metric: its name, for messages.
        protocols: those that define it.
        protocol: a key of ``protocols``; None for the first.
        given: options by name.

    Returns:
        The options with ``"protocol"``: its name, or ``"custom (from NAME)"`` where something was replaced by another
        value.

    Raises:
        InputError: if there is no such protocol, or it does not define this metric, or an option has another name.
    """
    protocol = next(iter(protocols)) if protocol is None else protocol
    if protocol not in protocols and protocol not in PROTOCOLS:
        raise unknown_name("protocol", str(protocol), [*PROTOCOLS, *protocols])
    if protocol not in protocols:
        raise ArgumentError(f"protocol {protocol!r} does not define {metric}; {metric} has {', '.join(protocols)}.")
    options = protocols[protocol]
    replaced = {name: value for name, value in given.items() if value is not None}
    for name in replaced:
        if name not in options:
            raise unknown_name(f"option of {metric}", name, options)
    custom = any(value is not options[name] and value != options[name] for name, value in replaced.items())
    return {**options, **replaced, "protocol": f"custom (from {protocol})" if custom else protocol}
