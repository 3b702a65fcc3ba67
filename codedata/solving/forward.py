"""Run a command in a container, and forward its requests for OPENAI_BASE_URL to a Unix socket.

  python3 forward.py SOCKET COMMAND ARGUMENT…

It exits with the command's exit code. It is copied into containers, so it needs only Python.
"""
import asyncio
import sys


async def copy(reader, writer):
    """Copy data from one connection to another, and close the second at its end."""
    try:
        while True:
            data = await reader.read(65536)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:   # one of the two is gone
        pass
    writer.close()


async def forward(*client):
    """Connect a client to the socket."""
    server = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(copy(client[0], server[1]), copy(server[0], client[1]))


async def run():
    """Run the command, forward its requests, and return its exit code."""
    listener = await asyncio.start_server(forward, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    process = await asyncio.create_subprocess_exec(
        "env", f"OPENAI_BASE_URL={url}", f"OPENAI_API_BASE={url}", *sys.argv[2:])
    return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(run()) % 256)
