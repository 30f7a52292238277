"""The chooser in a terminal: through a pseudo-terminal, as over SSH, and line by line"""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from codecs import getincrementaldecoder

import pandas as pd
import pytest

from natural_backdoors import TableDataset, find_triggers, scene_labels
from natural_backdoors.cli.commands import main
from natural_backdoors.pick.state import PickerState
from natural_backdoors.pick.terminal import _ACTIONS, Chooser, answer, choose_in_terminal
from natural_backdoors.split.selection import Selection

FLAGS = ["--data", "table", "--dataset_root", "labels.csv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Labels of scenes, in a folder"
    folder = tmp_path_factory.mktemp("terminal")
    rows = scene_labels(1500, seed=0)
    rows.assign(label=rows["name"])[["image", "label"]].to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return find_triggers(TableDataset(folder / "labels.csv"))


class Terminal:
    "A program in a terminal of its own, to which somebody types"

    def __init__(self, folder, *words):
        # a program of its own, and no fork of a process with threads; the terminal sends Ctrl-C
        program = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "from natural_backdoors.cli.commands import main; raise SystemExit(main())"
        )
        self.end, other = pty.openpty()
        # at Ctrl-C the kernel throws away what is being shown, sometimes also the answer to it
        modes = termios.tcgetattr(other)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(other, termios.TCSANOW, modes)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=folder,
            env=os.environ | {"TERM": "vt100", "COLUMNS": "80"},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def until(self, words: str, seconds: float = 90) -> str:
        "What is shown until `words` appear"
        shown, stop, text = "", time.monotonic() + seconds, getincrementaldecoder("utf-8")()
        while words not in shown:
            if not select.select([self.end], [], [], max(0, stop - time.monotonic()))[0]:
                raise AssertionError(f"{words!r} was not shown: {shown!r}")
            try:
                shown += text.decode(os.read(self.end, 4096))  # it may end within a character
            except OSError:  # the program has ended
                raise AssertionError(f"ended without {words!r}: {shown!r}") from None
        return shown

    def type(self, text: str, then: str = "> ") -> str:
        "Type something, and read until the next prompt"
        os.write(self.end, text.encode())
        return self.until(then)

    def interrupt(self) -> str:
        "Ctrl-C; Python does not see one that comes between its prompt and its waiting for a key"
        for _ in range(5):
            time.sleep(0.5)  # so that it mostly waits already
            os.write(self.end, b"\x03")
            # long: a second one, while a busy machine still answers the first, would end it
            if select.select([self.end], [], [], 20)[0]:
                break
        return self.until("> ")

    def code(self) -> int:
        "The exit code"
        try:
            while os.read(self.end, 4096):
                pass
        except OSError:
            pass
        return self.process.wait(30)


def test_a_choice_in_a_terminal(folder, found):
    "What a user of the original code types, with a mistake, an arrow key and Ctrl-C"
    terminal = Terminal(folder, "analyze", *FLAGS, "--interactive")
    assert f"{len(found)} triggers" in terminal.until("> ")
    trigger, cls = found.table.id[0], found.sets[found.table.id[0]].id[0]
    name = found.classes["name"]
    listed = terminal.type("triggers\n")
    assert all(t in listed for t in found.table["name"])
    assert "Houseplant" in terminal.type("classes\n")
    assert name[cls] in terminal.type(f"{trigger}\n")
    assert name[trigger] in terminal.type(f"class={cls}\n")
    counts = terminal.type(f"{trigger} {cls}\n")
    row = found.sets[trigger].iloc[0]
    assert [int(n) for n in re.findall(r"images: +(\d+)", counts)] == [row.n_clean, row.n_poison]
    assert "did you mean 'Umbrella'" in terminal.type("pick Umbrela\n")
    assert "trigger Umbrella" in terminal.type("\x1b[A\x7fla\n")  # up, a letter less
    assert "not saved" in terminal.interrupt()
    assert "saved to" in terminal.type("save\n")
    terminal.type("quit\n", then="quit")
    assert terminal.code() == 0
    chosen = Selection.load(folder / "selection.json")
    assert chosen.trigger["name"] == "Umbrella"
    assert len(chosen.classes) == len(found["Umbrella"])


def test_a_selection_is_taken_up_from_a_pipe(folder, found, monkeypatch, capsys):
    "Lines of a file do what lines that are typed do; the end of the file is the end"
    monkeypatch.chdir(folder)
    state = PickerState.of(found)
    state.pick(int(found.table.id[0]))
    state.save("mine.json")
    with open("lines", "w") as f:
        f.write(f"drop {state.classes[0]}\nsample_size 30\nsave\n")
    with open("lines") as lines:
        monkeypatch.setattr("sys.stdin", lines)
        words = ["--selection", "mine.json", "--interactive", "--name", state.name]
        assert main(["pick", *FLAGS, *words]) == 0
    assert "saved to" in capsys.readouterr().out
    chosen = Selection.load("mine.json")
    assert chosen.settings.n_clean == 30
    assert [c["id"] for c in chosen.classes] == state.classes[1:]


def test_it_says_what_the_state_and_a_slow_count_say(folder, found):
    "Every pair of a trigger and a class, counted image by image"
    said = []
    chooser = Chooser(PickerState.of(found), said.append)
    rows = pd.read_csv(folder / "labels.csv")
    of_image = rows.groupby("image")["label"].agg(set)
    for trigger in found.table["name"][:3]:
        for cls in found[trigger]["name"]:
            said.clear()
            assert answer(chooser, f"{trigger} {cls}")
            both = sum({trigger, cls} <= labels for labels in of_image)
            alone = sum(cls in labels and trigger not in labels for labels in of_image)
            assert re.findall(r"images: +(\d+)", said[-1]) == [str(alone), str(both)]
        assert answer(chooser, f"pick {trigger}") and not chooser.is_saved
        assert chooser.state.classes == found[trigger].id.tolist()
        assert "cannot be made" not in "".join(said)


def test_no_line_ends_it_but_the_end(found):
    "Whatever is typed is answered with a line"
    said = []
    chooser = Chooser(PickerState.of(found), said.append)
    odd = ["", "'", "pick", "add", "target", "sample_size", "sample_size x", "inject_rate 7", "why"]
    odd += [
        "save",
        "class",
        "class=",
        "999",
        "-1",
        "0 0 0",
        "drop 0",
        "why Cat",
        "\x1b[31m",
        "save /",
    ]
    for line in [*odd, *(f"{name} nothing of it" for name in _ACTIONS if name != "quit")]:
        said.clear()
        assert answer(chooser, line)
        assert said or not line
    assert chooser.is_saved and not answer(chooser, "quit")


def test_leaving_without_saving_is_said(found, capsys):
    lines = iter(["pick 23"])

    def read():
        for line in lines:
            return line
        raise EOFError

    choose_in_terminal(PickerState.of(found), read)
    assert "not saved" in capsys.readouterr().out.splitlines()[-1]
