import contextlib
import http.client
import socket
import subprocess
import time

DATA = bytes(range(256)) * 40


@contextlib.contextmanager
def server(folder):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = subprocess.Popen(["python3", "/app/serve.py", folder, str(port)])
    try:
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait(timeout=30)


def get(port, name, **headers):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    client.request("GET", name, headers=names)
    answer = client.getresponse()
    return answer.status, answer.read(), answer.headers


def test_tags_depend_on_the_bytes(tmp_path):
    for name, data in {"a": DATA, "b": DATA, "c": DATA[:-1]}.items():
        (tmp_path / name).write_bytes(data)
    with server(tmp_path) as port:
        tags = [get(port, f"/{name}")[2]["ETag"] for name in "abc"]
        assert tags[0] and tags[0] == tags[1] != tags[2]
        for known in (tags[0], f'"x", {tags[0]}', "*"):
            assert get(port, "/a", If_None_Match=known)[:2] == (304, b"")
        assert get(port, "/a", If_None_Match=tags[2])[:2] == (200, DATA)


def test_ranges(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    size = len(DATA)
    with server(tmp_path) as port:
        for text, first, end in [("5-9", 5, 10), ("0-0", 0, 1), (f"{size - 3}-", size - 3, size),
                                 ("-7", size - 7, size), (f"9-{size * 2}", 9, size)]:
            status, body, headers = get(port, "/a", Range=f"bytes={text}")
            assert (status, body) == (206, DATA[first:end])
            assert headers["Content-Range"] == f"bytes {first}-{end - 1}/{size}"
        assert get(port, "/a", Range=f"bytes={size}-")[0] == 416
        assert get(port, "/a", Range="bytes=1-2", If_Range='"old"')[:2] == (200, DATA)
