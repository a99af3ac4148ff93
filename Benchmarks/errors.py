"""What ends a benchmark."""


class BenchError(Exception):
    """Something without which there is nothing to measure, in words for whoever started the benchmark."""
