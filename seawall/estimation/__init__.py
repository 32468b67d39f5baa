"""How large is normal, and how much of a sample may be hostile.

Location and scale of each book's returns; robust location and scatter of rows; a weighted sample
of a stream.
"""

from seawall.estimation.clipping import clip, consistency, radius_of
from seawall.estimation.estimate import Estimate, Estimator
from seawall.estimation.location import (
    CatoniMean,
    GeometricMedianOfMeans,
    MedianOfMeans,
    SampleMean,
)
from seawall.estimation.moments import Moments, MomentsShape
from seawall.estimation.reservoir import Reservoir
from seawall.estimation.scatter import Mrcd, MrcdEstimate, SampleCovariance

__all__ = [
    "CatoniMean",
    "Estimate",
    "Estimator",
    "GeometricMedianOfMeans",
    "MedianOfMeans",
    "Moments",
    "MomentsShape",
    "Mrcd",
    "MrcdEstimate",
    "Reservoir",
    "SampleCovariance",
    "SampleMean",
    "clip",
    "consistency",
    "radius_of",
]
