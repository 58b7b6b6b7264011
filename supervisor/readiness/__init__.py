"""How a generation shows that it can serve: what it says, and whether it accepts."""
