"""Which rows are believed: signature, sequence, rate, clock, price band; counted by reason."""

from seawall.admission.admission import Admission, AdmissionShape, Reason

__all__ = ["Admission", "AdmissionShape", "Reason"]
