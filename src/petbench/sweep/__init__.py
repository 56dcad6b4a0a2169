"""Many runs: the members of a sweep, what is done already, launching, searching, tuning, and the table at the end."""
