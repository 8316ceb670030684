"""Lakes: tables that are Parquet objects and a log, read and written by record batches. Delta Lake and Apache Iceberg.

A room above ``connectors``, ``formats`` and ``datasets``, because it needs them all: objects go through the one writer and are read
by ranges, so that rows stream, credentials are the connector's, and a write that fails leaves nothing. The libraries keep the log.
``lake`` is what both are, ``source`` and ``sink`` the tasks, ``kinds`` and ``columns`` decide what goes where, ``files`` writes,
``stats`` and ``pruning`` tell which files need not be opened, ``delta`` and ``iceberg`` speak to one library each and are
imported when a URL of theirs is opened.
"""
