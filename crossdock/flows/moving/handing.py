"""Shards that straggle at the end of a run, taken from the workers that have them so that idle ones do what is left.

The agenda says which straggle; the sign goes to their workers through the run directory, as the one to stop does.
"""

from __future__ import annotations

import threading

from crossdock.errors import CrossdockError
from crossdock.events import Note, Observer
from crossdock.flows.moving.parts.agenda import Agenda
from crossdock.flows.moving.working import Hooks
from crossdock.flows.runs.directory import RunDirectory

__all__ = ["Handing"]


class Handing:
    """Asks for what straggles, and takes the sign away once a worker has let go.

    What is under way at the slow worker ends or is given up before anybody else begins, so that nothing is sent twice but that. A
    worker that does not even look is the runner's to find lost. Thread-safe: the driver looks, the runner's loop hears.
    """

    def __init__(
        self, directory: RunDirectory, session: str, agenda: Agenda, hooks: Hooks, observer: Observer
    ) -> None:
        self._directory = directory
        self._session = session
        self._agenda = agenda
        self._hooks = hooks
        self._observer = observer
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        agenda.when_let_go(self._let_go)

    def look(self) -> None:
        """Ask for what takes too long, if it is elsewhere. That this fails only makes the run slower."""
        found = [] if self._hooks.used else [shard.number for shard in self._agenda.stragglers()]
        if not found:
            return
        names = ", ".join(map(str, found))
        try:
            with self._lock:
                self._asked.update(found)
                self._directory.ask_to_hand_over(self._session, self._asked)
        except CrossdockError as error:
            self._observer(Note(text=f"shards that straggle ({names}) could not be asked for: {error}"))
        else:
            self._observer(
                Note(text=f"shard {names} takes much longer than others: its worker hands it over")
            )

    def end(self) -> None:
        """Take the sign away, if what was asked for came too late.

        Raises:
            LedgerError: The run directory cannot be written.
        """
        with self._lock:
            if self._asked:
                self._asked.clear()
                self._directory.ask_to_hand_over(self._session, ())

    def _let_go(self, number: int) -> None:
        """A worker gave a shard up: whoever gets it next keeps it."""
        with self._lock:
            self._asked.discard(number)
            self._directory.ask_to_hand_over(self._session, self._asked)
