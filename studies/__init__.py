"""What `rayduce sweep NAME` knows: data, architectures and spaces; a file for each kind of data."""
