import subprocess

LAYERS = ["[web]\nPort = 80\nroot = /srv\nlog=%h %u\n[mail]\nrelay = a\n",
          "[mail]\nrelay = !unset\n[web]\nPort = 8080\n[Cache]\nsize = 5\n",
          "[web]\nroot = !unset\nport = 1\n[Cache]\nsize = 6\n"]


def merged(folder, layers):
    paths = []
    for number, text in enumerate(layers):
        paths.append(folder / f"{number}.ini")
        paths[-1].write_text(text)
    done = subprocess.run(["python3", "/app/layers.py", *paths], capture_output=True, text=True,
                          timeout=30)
    return done.stdout.strip()


def test_later_layers_override_and_unset(tmp_path):
    expected = "[Cache]\nsize = 6\n\n[web]\nPort = 8080\nlog = %h %u\nport = 1"
    assert merged(tmp_path, LAYERS) == expected


def test_an_unset_key_may_come_back(tmp_path):
    assert merged(tmp_path, [*LAYERS[:2], "[mail]\nrelay = b\n"]).startswith(
        "[Cache]\nsize = 5\n\n[mail]\nrelay = b\n\n[web]")
