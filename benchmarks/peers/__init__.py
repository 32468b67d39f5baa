"""Comparisons with other systems, each installed in an environment of its own, never in ours."""
