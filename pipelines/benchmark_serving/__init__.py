"""How the live endpoint holds up: measurements that take minutes, and belong in no test."""
