"""Seawall trades crypto in markets it assumes to be hostile: it keeps trading safely, or stops."""

__version__ = "0.1.0"
