"""Safety: adverse reactions, adverse events per unit of exposure, and the courses of treatment."""
