"""The simulated exchange: it lives off the market rows that the node sees.

Its book is taken to be what we received, when we received it; the constant delay of the feed is
folded into the entry latency. It fills our orders, moves nobody else's, and keeps its own log.
"""

from seawall.venues.simulated.shape import VenueShape
from seawall.venues.simulated.venue import SimulatedVenue

__all__ = ["SimulatedVenue", "VenueShape"]
