"""A relay before an exchange, in a process of its own: notes when each order's bytes came in.

    python -m benchmarks.relay PORT FILE

It prints the port that it listens on; FILE gets a line of client id and ns (perf_counter) for each.
"""

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TextIO

ORDER = re.compile(rb"newClientOrderId=([\w-]+)")


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notes: TextIO | None
) -> None:
    """Bytes as they come; with notes of the orders in them."""
    try:
        while data := await reader.read(1 << 16):
            now = time.perf_counter_ns()
            writer.write(data)
            for name in ORDER.findall(data) if notes is not None else ():
                print(name.decode(), now, file=notes, flush=True)
            await writer.drain()
    except ConnectionError:
        pass  # the other side has gone: so does this one
    finally:
        writer.close()


async def _serve(port: int, notes: TextIO) -> None:
    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, there[1], notes), _pump(there[0], writer, None))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as file:
        asyncio.run(_serve(int(sys.argv[1]), file))
