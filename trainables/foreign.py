"""What comes from files, stores, servers and browsers: text made fit to show, JSON that cannot do harm.

It is the reader's, which needs it where nothing else of this project is; all packages take it from here.
"""

from rayduce_reader.foreign import DEEPEST, LONGEST, parse_json, shown

__all__ = ["DEEPEST", "LONGEST", "parse_json", "shown"]
