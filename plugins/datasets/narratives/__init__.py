"""Localized Narratives of pictures and clips, and the trace-captioning benchmark that is made of them."""
