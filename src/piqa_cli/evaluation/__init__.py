"""How well records agree with people: scores, regions, explanations, against blind baselines and other records."""
