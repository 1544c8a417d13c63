"""Backbones of Patch-ioner's tables, a file for each network, its options and the layouts it is released in."""
