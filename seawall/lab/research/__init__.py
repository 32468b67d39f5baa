"""Research on recorded frames: perception once, action often, and how much to believe of it."""
