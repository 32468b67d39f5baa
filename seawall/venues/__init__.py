"""Venues: one package per exchange, each the three ports that a node speaks through."""
