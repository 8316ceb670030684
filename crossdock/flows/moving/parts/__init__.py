"""Objects so large that several workers move one: begun once, parts anywhere, completed once.

``words`` is what travels between driver and workers, ``noted`` what the ledger keeps of an upload, ``agenda`` the driver's list of what
to hand out next, ``large`` what a worker does. The writer's steps are ``connectors.writer.cut``.
"""
