"""Weights: where they lie, what they were trained for, which a part takes, and the doors through which they come."""
