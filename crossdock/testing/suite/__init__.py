"""The parts of ``StoreSuite``, one module for each group of promises of ``ports.ObjectStore``."""
