"""petbench: a GLUE benchmarking harness for parameter-efficient tuning."""

__version__ = "0.1.0"
