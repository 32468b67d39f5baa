"""The microstructure library: what a book and its trades say, as features of frames."""

from seawall.market.features.features import Features, matrix
from seawall.market.features.micro_price import fit_micro_price
from seawall.market.features.reader import Featured, FeatureReader, features_of
from seawall.market.features.table import BASIC, COLUMNS, FEATURES, TABLE

__all__ = [
    "BASIC",
    "COLUMNS",
    "FEATURES",
    "TABLE",
    "FeatureReader",
    "Featured",
    "Features",
    "features_of",
    "fit_micro_price",
    "matrix",
]
