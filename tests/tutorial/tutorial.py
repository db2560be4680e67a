"""Plays docs/TUTORIAL.md: runs its console blocks one after the other, and compares what is printed. Started by tests/tutorial/run.

`…` in a block stands for any text of a line, and a line that is only `…` for any lines. A block `console NAME terminal` runs beside the
others until the end; the next block waits until what it quotes has been printed. UPDATE=1 writes a block whose output differs anew.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/TUTORIAL.md"
PATIENCE = 60
BLOCK = re.compile(r"^```console( [^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pattern(lines):
    """A regular expression of quoted lines. How wide a space between words is does not matter."""

    def of_line(line):
        words = (".*?".join(map(re.escape, word.split("…"))) for word in line.split())
        return r" *" + r" +".join(words) + r" *\n"

    return re.compile("".join(r"(?:.*\n)*?" if line == "…" else of_line(line) for line in lines))


class Terminal:
    """A shell that runs one line at a time."""

    def __init__(self, folder, environment, name):
        self.log = folder / f"{name}.log"
        self.log.touch()
        self.shell = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True, stdin=subprocess.PIPE,
            stdout=self.log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def type(self, line):
        self.shell.stdin.write(line + "\n")
        self.shell.stdin.flush()

    def text(self):
        return self.log.read_text()

    def wait(self, truth):
        until = time.monotonic() + PATIENCE
        while not truth(self.text()):
            if time.monotonic() > until or self.shell.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def run(self, line):
        """Runs a line, and returns what it printed."""
        start, end = len(self.text()), f"[end of {time.monotonic_ns()}]"
        self.type(f"{line}\necho '{end}'")
        assert self.wait(lambda text: end in text), f"`{line}` does not end:\n{self.text()[start:]}"
        return self.text()[start:].split(end)[0]


def commands(block):
    """The commands of a block, each with the lines that are quoted below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *quoted = part.splitlines()
        while line.endswith("\\"):
            line += "\n" + quoted.pop(0)
        yield line, quoted


def play(folder, environment):
    main, others, differences, written = Terminal(folder, environment, "main"), [], 0, {}
    try:
        for name, block in BLOCK.findall(DOCUMENT.read_text()):
            if name:
                ((line, quoted),) = commands(block)
                others.append(Terminal(folder, environment, name.strip().replace(" ", "-")))
                others[-1].type(f"exec {line}")
                wanted = pattern(["…", *quoted])
                seen = others[-1].wait(wanted.match)
                differences += not seen
                print(f"{'ok' if seen else 'DIFFERENT'}: {line}" + ("" if seen else f"\n{others[-1].text()}"), flush=True)
                continue
            printed = ""
            for line, quoted in commands(block):
                found = main.run(line)
                same = bool(pattern(quoted).fullmatch(found))
                differences += not same
                print(f"{'ok' if same else 'DIFFERENT'}: {line}" + ("" if same else f"\n{found}"), flush=True)
                printed += f"$ {line}\n" + ("".join(f"{line}\n" for line in quoted) if same else found)
            written[block] = printed
    finally:
        for terminal in (main, *others):
            terminal.shell.terminate()
            terminal.shell.wait(PATIENCE)
    if os.environ.get("UPDATE"):
        text = DOCUMENT.read_text()
        for block, printed in written.items():
            text = text.replace(f"```console\n{block}```", f"```console\n{printed}```")
        DOCUMENT.write_text(text)
    return differences


def main():
    folder = Path(tempfile.mkdtemp(prefix="ferryd-tutorial-"))
    stage = folder / ".run/stage"
    try:
        (folder / "docs").symlink_to(ROOT / "docs")
        (folder / "bin").mkdir()
        (folder / "bin/ferryd").symlink_to(os.environ["FERRYD"])
        up = subprocess.run([ROOT / "demo/stage", "up", stage], check=True, text=True, capture_output=True).stdout
        exported = dict(re.findall(r"(FERRYD_\w+)=(\S+)", up))
        assert {"FERRYD_CONFIG", "FERRYD_AMQP__URI"} <= exported.keys(), up
        path = f"{folder}/bin:{os.environ['PATH']}"
        differences = play(folder, {**os.environ, **exported, "PATH": path, "NO_COLOR": "1", "COLUMNS": "130"})
    finally:
        subprocess.run([ROOT / "demo/stage", "down", stage], check=False)
        shutil.rmtree(folder)
    print(f"{differences} differences between docs/TUTORIAL.md and what is printed")
    sys.exit(differences > 0)


main()
