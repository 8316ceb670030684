"""Table flows: rows from files, queries and APIs to files and tables, as runs with manifest, shards, ledger and report.

``port`` says what a flow gives, ``engine`` starts one and goes on with it, ``shard`` is what a worker does.
"""
