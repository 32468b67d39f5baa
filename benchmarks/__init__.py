"""How fast Seawall is, measured against the floors that it holds itself to: `make bench`."""
