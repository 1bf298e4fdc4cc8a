"""Each course of treatment, and the days after its infusions."""
