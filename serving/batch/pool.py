"""The local engine: processes that each hold one session, are told what to do by a pipe, and may die.

It shares nothing with Ray but the step.
"""

import logging
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from .archive import Chain
from .rows import Done
from .step import Job, Step, portable

log = logging.getLogger(__name__)

MAX_DEATHS = 2
"""A picture at which that many processes died is left out, with an error; if nothing is being read, the run ends."""


@dataclass
class _Worker:
    """One process and what it does."""

    process: SpawnProcess
    pipe: Connection
    chain: Chain = ()
    at: str | None = None
    """The picture that it reads, or whose batch it runs."""
    written: set[int] = field(default_factory=set)
    """Parts of the chain that it wrote."""


def run_pool(job: Job, chains: Sequence[Chain], workers: int) -> Iterator[Done]:
    """Do all chains by `workers` processes; yield each part when it is written.

    A process that dies is replaced, and what it had not written is done again; a picture that ends two processes is
    left out with an error. RuntimeError if processes die before they read anything, or with the words of one that
    could not begin.
    """
    waiting, deaths = deque(chains), Counter[str]()
    running: list[_Worker] = []
    try:
        running += [_start(job) for _ in range(min(workers, len(waiting)))]
        for worker in running:
            _give(worker, waiting, deaths)
        while any(worker.chain for worker in running):
            ready = wait([worker.pipe for worker in running])
            for worker in [each for each in running if each.pipe in ready]:
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    running.remove(worker)
                    waiting.appendleft(_mourned(worker, deaths))
                    running.append(_start(job))
                    _give(running[-1], waiting, deaths)
                    continue
                yield from _heard(worker, message)
                if message is None:
                    _give(worker, waiting, deaths)
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.process.join()


def _start(job: Job) -> _Worker:
    context = multiprocessing.get_context("spawn")  # no thread and no lock of ours goes along
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, waiting: deque[Chain], deaths: Counter[str]) -> None:
    """Give a worker the next chain, and the pictures that it must not read; nothing where none waits."""
    worker.chain = waiting.popleft() if waiting else ()
    worker.at, worker.written = None, set()
    if worker.chain:
        avoid = frozenset(name for name, count in deaths.items() if count >= MAX_DEATHS)
        try:
            worker.pipe.send((worker.chain, avoid))
        except OSError:  # it died meanwhile; its pipe tells
            log.info("process %s is gone", worker.process.pid)


def _heard(worker: _Worker, message: Any) -> Iterator[Done]:
    match message:
        case Done():
            worker.written.add(message.part)
            yield message
        case str():
            worker.at = message
        case Exception():
            raise message


def _mourned(worker: _Worker, deaths: Counter[str]) -> Chain:
    """What a worker that died had not written."""
    worker.process.join()
    code = worker.process.exitcode
    reason = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
    log.warning("a worker %s at %s; another one goes on", reason, worker.at or "its start")
    deaths[worker.at or ""] += 1
    if deaths[""] > MAX_DEATHS:
        raise RuntimeError(f"workers end before they read anything: the last {reason}; -v shows more")
    return tuple(part for part in worker.chain if part.index not in worker.written)


def work(job: Job, pipe: Connection) -> None:
    """What a process does: chains as they come, until the pipe's other end is gone.

    It sends the name of what it reads, a `Done` for each part that it wrote, None at a chain's end, and an exception
    that ends the run.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, too, and ends us
    try:
        step = Step(job)
        while True:
            chain, avoid = pipe.recv()
            for done in step(chain, avoid, pipe.send):
                pipe.send(done)
            pipe.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what was written stays
    except Exception as error:
        pipe.send(portable(error))
