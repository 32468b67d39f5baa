"""Ingestion: market data in, from files, recordings, simulations and exchanges, as tape rows."""
