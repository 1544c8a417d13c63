"""Regions of pictures as benchmarks release them: boxes and masks with phrases, categories, expressions, questions."""
