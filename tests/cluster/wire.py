"""A network of the tests' own: a proxy between two programs that can be cut, slowed down, and out of order.

Bytes of one direction of a connection keep their order, as TCP has it; those of connections beside each other do not.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

CHUNK_SIZE = 65_536


class Wire:
    """Listens on a free port of loopback until it is closed, and passes on what comes. Methods come from any thread."""

    def __init__(self, target: int | Path) -> None:
        """`target` is where it leads to: a port of loopback, or a socket in the file system."""
        self._target = target
        self._delay: Callable[[], float] = lambda: 0.0
        self._loop = asyncio.new_event_loop()
        self._there, self._back = asyncio.Event(), asyncio.Event()
        self._there.set()
        self._back.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.connection_count = 0
        """How many connections were made so far."""
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self, *, there: bool = True, back: bool = True) -> None:
        """Pass nothing on from now on, nor tell anybody: as where packets are lost. `there`: what clients send,
        `back`: what they are answered."""
        self._run(self._set(there=not there and self._there.is_set(), back=not back and self._back.is_set()))

    def heal(self) -> None:
        """Pass everything on, at once: also what came while it was cut."""
        self._delay = lambda: 0.0
        self._run(self._set(there=True, back=True))

    def slow_down(self, delay_s: float) -> None:
        """Take so long for everything from now on."""
        self._delay = lambda: delay_s

    def mix_up(self, delay_max_s: float, chance: random.Random) -> None:
        """Take another time, up to so long, for each piece: what was sent over one connection first may come last."""
        self._delay = lambda: chance.uniform(0, delay_max_s)

    def reset(self) -> None:
        """Break every connection that there is."""
        self._run(self._break())

    def close(self) -> None:
        """Listen no more, and break what there is."""
        self._server.close()
        self._run(self._break())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._take, "127.0.0.1", 0)

    async def _set(self, *, there: bool, back: bool) -> None:
        for gate, is_open in ((self._there, there), (self._back, back)):
            if is_open:
                gate.set()
            else:
                gate.clear()

    async def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        self._writers.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            await self._there.wait()
            other_reader, other_writer = await self._open()
            self._writers.add(other_writer)
            await asyncio.gather(
                self._pump(reader, other_writer, self._there), self._pump(other_reader, writer, self._back)
            )
            other_writer.transport.abort()
            self._writers.discard(other_writer)
        writer.transport.abort()
        self._writers.discard(writer)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_SIZE):
            if delay_s := self._delay():
                await asyncio.sleep(delay_s)
            await gate.wait()
            writer.write(chunk)
            await writer.drain()
        await gate.wait()  # nor does who is cut off learn that the other side has ended
        writer.transport.abort() if writer.transport.is_closing() else writer.write_eof()
