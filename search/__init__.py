"""A sweep on one machine or a cluster: what is tried, who ends early, what is kept and told."""

import trainables as trainables  # which tells libraries to send nothing; so before they are imported
