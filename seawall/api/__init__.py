"""The node's window: what it publishes, over HTTP and as a stream, read-only."""
