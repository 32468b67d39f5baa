"""Risk: what may be done of what is wanted. Limits size intents, breakers stop the trading."""
