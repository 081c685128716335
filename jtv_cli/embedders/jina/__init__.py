"""The Jina AI Embeddings API, and servers of the same shape.

`endpoint` says where it is and whether a key may travel there, `embedder` sends the
requests, `replies` reads what comes back.
"""

from jtv_cli.embedders.jina.embedder import JinaEmbedder

__all__ = ["JinaEmbedder"]
