"""What a user sees: data on stdout, talk on stderr."""
