"""The laboratory: attacks on the tape, and what is measured under them."""
