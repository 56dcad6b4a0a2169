"""The figures of a report: which curves there are, and drawing them to files."""
