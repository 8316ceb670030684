"""Extract, transform, load over a list of sources that is read when the flow is run.

Shows a parameter that is a list of dicts (``-p sources=@s3://config/sources.json``), a task for each of them, and a chain of stitch
functions between reading and writing. A source that fails does not stop the others; what became of each is saved beside the data.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

import crossdock as xd


def etl(sources: list[dict[str, str]], lake: str, retries: int = 3) -> xd.MapResult:
    """Load each source into a Parquet object of its own.

    Args:
        sources: Each with a name, the place (a prefix in any store) and the key of what is there.
        lake: Prefix of the results.
        retries: How often a source is tried again.
    """
    lake = lake.removesuffix("/")
    load = xd.sink(f"{lake}/tables/")
    transform = xd.chain(xd.decode(), xd.transform(clean, frame="pandas"), xd.encode("parquet"))

    @xd.one_task(name="etl", stitch_function=transform, retries=retries, retry_delay=1, backoff=2)
    def extract_and_load(source: dict[str, str]) -> Any:
        extract = xd.source(source["place"])
        return load(extract(source["key"]), key=f"{source['name']}.parquet")

    result = extract_and_load.map(source=sources)
    result.save(f"{lake}/last_run.jsonl")
    return result


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    """What is done to every table, batch by batch: tidy names, no rows without any value."""
    tidy = {name: str(name).strip().lower().replace(" ", "_") for name in frame.columns}
    return frame.rename(columns=tidy).dropna(how="all")
