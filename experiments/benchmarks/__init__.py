"""The parts of ``experiments.benchmark``."""
