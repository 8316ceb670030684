"""Any URL that fsspec opens, as an ``ObjectStore``: a source, and a sink where a file can be given its name in one step.

``connectors.chains`` takes URLs apart, ``protocols`` asks fsspec what there is, ``connector`` makes a row of the registry of it,
``dialects`` is the table of what each kind of filesystem really does, ``filesystems`` keeps open ones, ``store`` puts them
behind the port. Nothing is imported here: taking a URL apart does not need fsspec.
"""
