"""The plots of a report as matplotlib figures: their panels, their look, and writing them to files."""
