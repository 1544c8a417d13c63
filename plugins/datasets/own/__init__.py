"""Data of the user's own: a JSONL with a folder of pictures, and shards of tar files."""
