"""Everything distributed: studies, searcher, tracking, store and the command line."""
