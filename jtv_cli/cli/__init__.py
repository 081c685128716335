"""The command line: parse, open, call plain functions, hand over to render."""
