"""Runs TestCloud of Go packages on emulators of Google Cloud Storage and Azure Blob Storage.

usage: cloud.py PACKAGE...

Starts fake-gcs-server and azurite from .deps (./setup.sh cloud puts them there), each on a free port of this
machine with its data in memory, makes a bucket in each, and runs the packages' TestCloud once a store, with
WINNOW_TEST_STORE naming it. Ends with 1 when a run fails.
"""

import base64
import contextlib
import email.utils
import hashlib
import hmac
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEPS = os.path.join(ROOT, ".deps")
BUCKET = "winnow"
# The account that every Azure emulator has; its key is in Microsoft's documentation and guards nothing.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def service(*command, port, cwd):
    """A process that listens on port until the block ends."""
    with tempfile.TemporaryFile() as log:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if p.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        sys.exit(f"{command[0]} did not start:\n{log.read().decode(errors='replace')}")
                    time.sleep(0.05)
            yield
        finally:
            p.kill()
            p.wait()


def make_gcs_bucket(host):
    body = f'{{"name": "{BUCKET}"}}'.encode()
    request = urllib.request.Request(
        f"http://{host}/storage/v1/b?project=winnow", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=30).close()


def make_azure_container(host):
    """One PUT, signed with the account's key as the REST API's Shared Key scheme asks."""
    date, version, path = email.utils.formatdate(usegmt=True), "2021-08-06", f"/{ACCOUNT}/{BUCKET}"
    headers = {"x-ms-date": date, "x-ms-version": version, "Content-Length": "0", "Content-Type": ""}
    text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}{path}\nrestype:container"
    mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
    request = urllib.request.Request(f"http://{host}{path}?restype=container", b"", headers, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def run(packages, url, **env):
    print(f"test-cloud {url}", flush=True)
    command = ["go", "test", "-count=1", "-run", "^TestCloud$", *packages]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "WINNOW_TEST_STORE": url, **env}).returncode


def main(packages):
    if not packages:
        sys.exit(__doc__)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        host = f"127.0.0.1:{port}"
        gcs = os.path.join(DEPS, "bin", "fake-gcs-server")
        flags = ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", host]
        with service(gcs, *flags, port=port, cwd=folder):
            make_gcs_bucket(host)
            failed |= run(packages, f"gs://{BUCKET}", STORAGE_EMULATOR_HOST=host)

        port = free_port()
        host = f"127.0.0.1:{port}"
        blob = os.path.join(DEPS, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
        flags = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--inMemoryPersistence", "--silent"]
        with service("node", blob, *flags, port=port, cwd=folder):
            make_azure_container(host)
            url = f"azblob://{BUCKET}?protocol=http&domain={host}&localemu=true"
            failed |= run(packages, url, AZURE_STORAGE_ACCOUNT=ACCOUNT, AZURE_STORAGE_KEY=KEY)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
