"""Photos to batches: sources, crops, tables of attributes, the dataset folder."""
