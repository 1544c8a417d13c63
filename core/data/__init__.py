"""What readers of data sets are made of: streams of records, an index built once, samples read one at a time.

A reader is a subclass of :class:`regionkit.core.data.files.FileDataset`.
"""
