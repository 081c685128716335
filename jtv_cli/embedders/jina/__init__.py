"""The Jina AI Embeddings API, and servers of the same shape.

`endpoint` says where it is and whether a key may travel there, `embedder` sends the
requests, `replies` reads what comes back. Only `embedder` needs `requests`, which is slow
to import, so nothing is imported here.
"""
