"""The contracts of regionkit: what a backbone, a region encoder, a bridge, a decoder and a metric promise each other.

Core knows no plugin and no paper. Importing this package imports neither torch nor numpy; the modules below do, on use.
"""
