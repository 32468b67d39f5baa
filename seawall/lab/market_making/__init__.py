"""Market making by the closed forms of Avellaneda and Stoikov, and of Guéant, Lehalle and
Fernandez-Tapia, on the exact venue: formulas, their fit to a tape, and the quoting strategy.
"""
