"""Clips with a track of masks: HC-STVG and VideoRefer-Bench-D."""
