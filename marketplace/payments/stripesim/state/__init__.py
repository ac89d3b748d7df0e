"""What the simulator remembers: objects, money and the time."""
