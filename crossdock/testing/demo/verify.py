"""The verdict of the other route: destination against source, against the published digests, and nothing left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from crossdock.testing.demo.data import Sample
from crossdock.testing.demo.plain import PlainGCS, PlainS3, Seen

__all__ = ["Verdict", "compare", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and every difference found, one line each."""

    objects: int
    bytes: int
    groups: dict[str, int]
    published: int
    metadata_fields: int
    differences: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether everything arrived."""
        return self.objects > 0 and not self.differences


def verify(s3_url: str, gcs_url: str, *, bucket: str, to_bucket: str, expected: Sequence[Sample]) -> Verdict:
    """Read both buckets object by object, one of each at a time; memory is one chunk.

    Args:
        s3_url: The source server.
        gcs_url: The destination server.
        bucket: The source bucket.
        to_bucket: The destination bucket.
        expected: What was put into the source.
    """
    differences: list[str] = []
    total = published = fields = 0
    with PlainS3(s3_url) as s3, PlainGCS(gcs_url) as gcs:
        source_keys = set(s3.keys(bucket))
        resources = {str(row["name"]): row for row in gcs.resources(to_bucket)}
        wanted = {sample.key for sample in expected}
        differences += [f"{key!r} is not in the source" for key in sorted(wanted - source_keys)]
        differences += [f"{key!r} did not arrive" for key in sorted(source_keys - resources.keys())]
        differences += [
            f"{key!r} is in the destination only" for key in sorted(resources.keys() - source_keys)
        ]
        for sample in expected:
            if sample.key not in source_keys or sample.key not in resources:
                continue
            here, there = s3.see(bucket, sample.key), gcs.see(to_bucket, resources[sample.key])
            differences += compare(sample, here, there)
            total += there.size
            published += sample.sha256 is not None
            fields += len(there.metadata)
        for name, uploads in gcs.admin("GET", "uploads").items():
            differences += [f"an upload of {key!r} in {name} was left open" for key in uploads.values()]
    return Verdict(
        objects=len(resources),
        bytes=total,
        groups=dict(Counter(sample.group for sample in expected)),
        published=published,
        metadata_fields=fields,
        differences=tuple(differences),
    )


def compare(sample: Sample, here: Seen, there: Seen) -> list[str]:
    """Differences between what was published, what the source holds and what arrived; pure."""
    found = []
    if there.sha256 != here.sha256 or there.size != here.size:
        found.append(f"{sample.key!r}: the bytes differ ({here.size} at the source, {there.size} arrived)")
    if sample.sha256 is not None and there.sha256 != sample.sha256:
        found.append(f"{sample.key!r}: SHA-256 {there.sha256} is not the published {sample.sha256}")
    for name in sorted(here.metadata.keys() | there.metadata.keys()):
        before, after = here.metadata.get(name), there.metadata.get(name)
        if before != after:
            found.append(f"{sample.key!r}: {name} was {before!r} and is {after!r}")
    for name, value in sample.headers.items():
        if here.metadata.get(name.lower()) != value:
            found.append(
                f"{sample.key!r}: the source holds {name} {here.metadata.get(name.lower())!r}, not {value!r}"
            )
    return found
