"""A backbone with a method on it: attaching, counting, saving and loading."""
