"""caproto-shark as users run it."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caproto import CreateChanRequest, VersionRequest
from caproto.commandline.shark import main
from caproto.sync.shark import shark
from tests.sync.captures import CLIENT, SERVER, Capture
from tests.vectors_support import CLIENT_TO_SERVER, messages


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, bytes(VersionRequest(0, 13)) + b"\x77" * 16)
    capture.tcp(CLIENT, SERVER, bytes(CreateChanRequest("x", 1, 13)))
    path = tmp_path / "traffic.pcap"
    path.write_bytes(capture.file().getvalue())
    return path


def test_a_file(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(capture)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "1000.002000 10.0.0.1:40123->10.0.0.2:5064 "
        "VersionRequest(priority=0, version=13, sequence=None)",
        "1000.002000 10.0.0.1:40123->10.0.0.2:5064 "
        "RemoteProtocolError('unknown command number 30583')",
        "1000.003000 10.0.0.1:40123->10.0.0.2:5064 "
        "CreateChanRequest(name='x', cid=1, version=13)",
    ]


def test_each_command_has_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capture = Capture()
    for message in messages("read_ctrl"):
        if message.direction != CLIENT_TO_SERVER:
            capture.tcp(SERVER, CLIENT, message.data)
    path = tmp_path / "traffic.pcap"
    path.write_bytes(capture.file().getvalue())
    assert main([str(path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == len(list(shark(capture.file()))) > 7
    assert all(line.startswith("1000.") for line in lines)
    assert any("upper_ctrl_limit" in line for line in lines)


def test_a_pipe_and_a_format(capture: Path) -> None:
    command = [sys.executable, "-m", "caproto.commandline.shark", "--format", "{src} {dst}"]
    with capture.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "10.0.0.1 10.0.0.2\n" * 3, "")


def test_a_reader_that_has_seen_enough(capture: Path) -> None:
    command = f"{sys.executable} -m caproto.commandline.shark {capture} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")


def test_errors(
    capture: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([str(capture.with_name("nowhere"))]) == 1
    assert "caproto-shark: " in capfd.readouterr().err
    wrong = capture.with_name("wrong")
    wrong.write_bytes(b"nonsense")
    assert main([str(wrong)]) == 1
    assert "this is not a capture" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "dpkt", None)
    assert main([str(capture)]) == 1
    assert "pip install 'caproto[shark]'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("template", "said"),
    [("{nonsense}", "{nonsense} is not a field; there are timestamp, ethernet, ip,"),
     ("{timestamp[0]}", "VersionRequest(priority=0, version=13, sequence=None): 'float' object"),
     ("{ip:x}", "unsupported format string"), ("{command:5}", "unsupported format string"),
     ("{src:99999999999}", "widths and precisions have at most 4 digits"),
     ("{src:{dst}}", "{src} takes no braces"), ("{src", "'{src': expected '}'"),
     ("{ip.x}", "has no attribute 'x'")],
)
def test_formats_that_are_refused(
    template: str, said: str, capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(capture), "--format", template]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("--format: ") and said in err and err.count("\n") == 1


def test_escape_sequences_in_formats(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(capture), "--format", r"{src}\t{transport.dport:>6}"]) == 0
    assert capfd.readouterr().out == "10.0.0.1\t  5064\n" * 3


def test_closed_standard_input(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main([]) == 1
    assert capfd.readouterr().err == "caproto-shark: standard input is closed\n"


def test_closed_standard_output(capture: Path) -> None:
    command = f"{sys.executable} -m caproto.commandline.shark {capture} >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "caproto-shark: standard output is closed\n")


def test_ctrl_c(tmp_path: Path) -> None:
    """Silent, at any moment, and as a signal ends a program."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "caproto.commandline.shark", str(pipe)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with pipe.open("wb"):  # waits until the tool reads it
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == -signal.SIGINT


def test_several_captures_and_wrong_ports_are_refused(
    capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(capture), "other"]) == 2
    assert main([str(capture), "--server-port", "\u0667000"]) == 2
    assert main([str(capture), "--server-port", "7000", "--server-port=7001"]) == 0
    assert capfd.readouterr().err.count("\n") == 2
