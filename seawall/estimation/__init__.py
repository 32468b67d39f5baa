"""How large is normal: location and scale of each book's returns."""

from seawall.estimation.moments import Moments, MomentsShape

__all__ = ["Moments", "MomentsShape"]
