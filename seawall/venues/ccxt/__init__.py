"""Real exchanges through ccxt: orders and answers over REST and WebSocket, beside the path."""
