"""What every stage shares: time, instruments, money, events, frames, intents, orders, ports."""
