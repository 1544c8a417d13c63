"""Finding plugins, loading them so that a broken one costs nobody else anything, and checking what they say."""
