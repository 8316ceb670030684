"""One writer for all object sinks. ``write`` chooses; each way of writing has its module.

``job`` holds what they share, ``whole`` one request, ``ranges`` parallel parts, ``sequential`` streams in order, ``cut`` objects
that several workers send; ``parted`` the steps of the two that send parts, ``parts`` the pool of parts in flight, ``receipts`` the proof.
"""

from crossdock.connectors.writer.cut import begin_cut, complete_cut, send_parts
from crossdock.connectors.writer.job import Job, job_of
from crossdock.connectors.writer.parted import Begun
from crossdock.connectors.writer.write import write

__all__ = ["Begun", "Job", "begin_cut", "complete_cut", "job_of", "send_parts", "write"]
