"""A small German-English grammar over CLDR data: what the embedded translation task says."""
