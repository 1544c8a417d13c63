"""What all readers of data sets share: streams of records, an index built once, samples read one at a time."""
