"""Alpaca's crypto spot trading through alpaca-py, in the words of ccxt: the desk is the same."""
