"""What `jtv doctor` looks at: settings, database, table, API; each within a time limit."""
