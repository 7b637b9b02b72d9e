"""Ray, here or on a cluster: starting, joining, watching, and what its processes may do."""
