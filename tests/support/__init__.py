"""Real parts: servers and processes, a proxy that misbehaves, readers that see bytes."""
