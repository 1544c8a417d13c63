"""A small writer of plots: marks on a canvas, as SVG and as PDF."""
