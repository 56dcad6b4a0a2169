"""Lanes: several runs of one method in one pass over one frozen backbone."""
