"""The store on a TiDB cluster.

A database of the cluster is a store; what a table is made of stands in `schema`.
"""

from jtv_cli.stores.tidb.store import TidbStore

__all__ = ["TidbStore"]
