"""The node: the one path put together, the same live, on paper and in a backtest."""
