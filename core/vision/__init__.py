"""Networks for pictures that two papers build on, and the readers of their released files."""
