"""Data sets of captions of whole pictures and of sets of regions, and pictures without captions."""
