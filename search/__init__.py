"""Everything distributed: studies, searcher, tracking, store and the command line."""

import trainables as trainables  # which tells libraries to send nothing; so before they are imported
