"""How the shipped weights are made: one loop, and a table of stages."""
