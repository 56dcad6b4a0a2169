"""The machine: devices, clocks, seeds, versions and network."""
