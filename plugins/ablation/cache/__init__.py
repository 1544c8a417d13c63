"""Outputs of stages on disk, so that no run computes what another has: ``StageCache`` in ``cache/stage_cache.py``."""
