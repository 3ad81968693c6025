"""Who slept, as archives such as DANDI ask of every NWB file: by default a simulated network, and no animal."""

import re
from collections.abc import Callable, Mapping

from neurosleep.sims.errors import InputError, unknown

_DURATION = r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
_FORMS: dict[str, tuple[str, str]] = {
    "subject_id": (r"[^/\s][^/]*", "text without '/'"),
    "species": (
        r"[A-Z][a-z]* [a-z]+|http://purl\.obolibrary\.org/obo/NCBITaxon_\d+",
        "a Latin binomial such as 'Mus musculus', or the address of a taxon such as "
        "http://purl.obolibrary.org/obo/NCBITaxon_10090",
    ),
    "age": (rf"{_DURATION}|({_DURATION})?/({_DURATION})?", "a duration in ISO 8601 such as P90D, or a range P1D/P3D"),
    "sex": (r"[MFOU]|XO|XX", "one of M, F, O (other), U (unknown)"),
    "description": (r"(?s).*\S.*", "text"),
    **dict.fromkeys(("genotype", "strain"), (r".*\S.*", "text")),
    "weight": (r"\d+(\.\d+)? (kg|g|mg|ug)", "a number and a unit, such as '0.02 kg'"),
}
_SYNTHETIC = "http://purl.obolibrary.org/obo/NCBITaxon_32630"
"""The taxon "synthetic construct" of NCBI: what nature did not make."""


def subject_of(seed: int, given: Mapping[str, str] | None) -> dict[str, str]:
    """Return what is told of a subject, with what was given in place of what is told of a simulated network.

    Raises
    ------
    InputError
        If a key is unknown, or its text not of the form that DANDI asks for.
    """
    told = {
        "subject_id": f"simulated-seed-{seed}",
        "species": _SYNTHETIC,
        "age": "P0D",
        "sex": "U",
        "description": "simulated: a spiking neural network asleep, no animal",
    }
    matches: Callable[[str, str], object] = re.fullmatch
    for key, value in (given or {}).items():
        if key not in _FORMS:
            raise InputError(f"subject: {unknown('key', key, list(_FORMS))}")
        form, expected = _FORMS[key]
        if not isinstance(value, str) or not matches(form, value) or not value.isprintable():
            raise InputError(f"subject: {key} must be {expected}, got {value!r}")
        told[key] = value
    return told
