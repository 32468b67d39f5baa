"""The whole node under a seeded scheduler that makes everything outside it fail on purpose.

`faults` draws what goes wrong, `world` lets a node live through it, `checks` hold what must always
be true, `campaign` does so for many seeds, and `shrinking` finds the few faults that matter.
"""
