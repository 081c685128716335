"""What jtv does with texts: ingest, search, estimate and removal, as plain functions.

They work on a `Table` and an `Embedder`, whichever they are. `ingestion` has a whole run from
top to bottom: `deduplication` finds the new texts, `batches` cuts them into requests,
`scheduler` decides which request is sent when, and `retry` whether a failed one is sent
again. `observer` is how the caller learns what happens meanwhile.
"""
