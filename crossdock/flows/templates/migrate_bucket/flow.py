"""One bucket to another, as a routine: copy what is new or changed, then compare both sides.

Shows ``xd.migrate`` and ``xd.check``. Every object is verified as it is copied. Run it again, tomorrow or after a crash: what is
there and equal is not sent, and with nothing to do nothing is written.
"""

from __future__ import annotations

import crossdock as xd


def migrate_bucket(source: str, destination: str, include: str = "**", workers: int = 0) -> xd.Report:
    """Copy everything below one prefix to another, in whatever cloud.

    Args:
        source: Where from, such as s3://landing/2024/
        destination: Where to, such as gs://archive/2024/
        include: Only keys that match; ** stands for anything.
        workers: Processes of this machine to spread the work over; 0 is threads of this one.
    """
    with xd.DaskRunner(n_workers=workers) if workers else xd.LocalRunner() as runner:
        report = xd.migrate(source, destination, include=[include], runner=runner)
    report.raise_for_failures()

    xd.check(source, destination, include=[include], one_way=True).raise_for_differences()
    return report
