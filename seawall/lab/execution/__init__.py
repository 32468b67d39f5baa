"""Studies of execution: what schedules cost on recorded books, and how stops fare in a crash."""
