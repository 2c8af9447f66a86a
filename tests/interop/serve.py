"""What an operator sees: refusals that say what to do, exit codes, the command line's own client, a second process on one
directory, an idle node's stop within two seconds."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

from broker import Broker, binary, free_port, work_dir


def run(*arguments, text=None, timeout=60, files_max=None):
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))

    return subprocess.run(
        [binary(), *arguments], input=text, capture_output=True, text=True, timeout=timeout, check=False,
        preexec_fn=few_files if files_max else None,
    )


def refused(code, words, *arguments, **limits):
    done = run(*arguments, **limits)
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, not {code}: {done.stderr}"
    for word in words:
        assert word in done.stderr, f"{arguments}: `{word}` is not in: {done.stderr}"


def check_refusals():
    work = work_dir("refusals")
    data = str(work / "data")
    refused(2, ["num.partition", "did you mean `num.partitions`"], "serve", "--data", data, "--set", "num.partition=4")
    refused(2, ["`num.partitions` cannot be `0`", "from 1 to 100000"], "serve", "--data", data, "--set", "num.partitions=0")
    refused(2, ["HOST:PORT"], "serve", "--data", data, "--listen", "nonsense")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused(1, [address, "in use"], "serve", "--data", data, "--listen", address, "--shards", "1")
    at = ["--listen", f"127.0.0.1:{free_port()}", "--shards", "1"]
    refused(2, ["log.dirs", "takes one directory"], "serve", "--set", "log.dirs=/a,/b", *at)
    refused(71, ["files: ", "ulimit -n"], "serve", "--data", data, *at, files_max=512)
    newer = work / "newer"
    newer.mkdir()
    (newer / "node.meta").write_text("millstream-node 9\n")
    refused(65, ["node.meta", "version", "nothing was changed"], "serve", "--data", str(newer), *at)
    shutil.rmtree(work)
    print("    wrong keys, values and addresses, few files, several directories and a newer format are refused with what to do")


def check_second_process(broker):
    done = run("serve", "--data", str(broker.data), "--listen", f"127.0.0.1:{free_port()}", timeout=40)
    assert done.returncode == 1, done.stderr
    assert "in use by another process" in done.stderr and str(broker.process.pid) in done.stderr, done.stderr
    print("    a second process on one data directory waits, then names the first")


def check_waiting_process(broker):
    """Who waits for the lock refuses connections: a client goes to another broker instead of hanging."""
    port = free_port()
    command = [binary(), "serve", "--data", str(broker.data), "--listen", f"127.0.0.1:{port}", "--shards", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "waiting up to" in process.stderr.readline(), "it says that it waits"
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=2):
                    raise AssertionError("a process that waits for the lock takes connections")
            except ConnectionRefusedError:
                pass
        finally:
            process.kill()
    print("    a process that waits for the lock refuses connections")


def check_stalled_produce(broker):
    """A broker that goes away while records are sent: `produce` says so, waits, and goes on."""
    at = ["--broker", broker.address]
    assert run("topic", "create", "stalled", *at).returncode == 0
    command = [binary(), "produce", "stalled", *at]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        stuck = threading.Timer(60, process.kill)
        stuck.start()
        try:
            process.stdin.write("one\n")
            process.stdin.flush()
            time.sleep(1)
            broker.kill()
            process.stdin.write("two\n")
            process.stdin.flush()
            line = process.stderr.readline()
            assert line.startswith("waiting: "), f"`produce` that nobody answers says: {line!r}"
            broker.start()
            process.stdin.close()
            assert process.wait(timeout=40) == 0, process.stderr.read()
        finally:
            stuck.cancel()
            process.kill()
    read = run("consume", "stalled", "--from", "beginning", "--count", "2", *at)
    assert read.stdout.split() == ["one", "two"], read.stdout + read.stderr
    assert run("topic", "delete", "stalled", *at).returncode == 0
    print(f"    produce says why it waits ({line.strip()})")


def check_two_signals(broker):
    """A supervisor signals the process and its group: that is one stop, not an interruption."""
    broker.process.send_signal(signal.SIGTERM)
    broker.process.send_signal(signal.SIGTERM)
    code = broker.process.wait(timeout=10)
    assert code == 0, f"two SIGTERMs at once end with {code}: {broker.words()[-500:]}"
    print("    two SIGTERMs at once are one")


def check_other_user(broker):
    """Another user may look, without a right to write. The program and the directory are opened before the user changes."""
    if os.geteuid() != 0:
        print("    log verify as another user: needs root, left out")
        return
    for path in [broker.data, *broker.data.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    program = os.open(binary(), os.O_RDONLY)
    before = {path: path.stat().st_mtime_ns for path in broker.data.rglob("*")}
    try:
        done = subprocess.run(
            [f"/proc/self/fd/{program}", "log", "verify", "."], cwd=broker.data, pass_fds=[program], user=65534, group=65534,
            extra_groups=[], capture_output=True, text=True, timeout=60, check=False,
        )
    finally:
        os.close(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in broker.data.rglob("*")}, "log verify changed something"
    print("    log verify as another user, who may not write")


def check_reader_that_left(*arguments):
    """As `| head` does: nobody reads what is printed."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([binary(), *arguments], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, ""), f"{arguments}: {done.returncode}: {done.stderr}"


def check_own_client(broker):
    at = ["--broker", broker.address]
    assert run("topic", "create", "words", "--partitions", "3", *at).returncode == 0
    again = run("topic", "create", "words", *at)
    assert again.returncode == 1 and "exists" in again.stderr, again.stderr
    listed = json.loads(run("topic", "list", "--json", *at).stdout)
    assert any(topic["name"] == "words" and topic["partitions"] == 3 for topic in listed["topics"]), listed
    check_reader_that_left("topic", "describe", "words", *at)
    check_reader_that_left("doctor")
    lines = [f"k{number % 7}:line {number}" for number in range(1000)]
    sent = run("produce", "words", "--key-separator", ":", *at, text="\n".join(lines) + "\n")
    assert sent.returncode == 0, sent.stderr
    read = run("consume", "words", "--from", "beginning", "--count", "1000", "--json", *at)
    assert read.returncode == 0, read.stderr
    records = [json.loads(line) for line in read.stdout.splitlines()]
    found = sorted(f"{record['key']}:{record['value']}" for record in records)
    assert found == sorted(lines), f"{len(found)} of {len(lines)} lines came back"
    assert run("topic", "delete", "words", *at).returncode == 0
    refused(1, ["no broker"], "topic", "list", "--broker", f"127.0.0.1:{free_port()}")
    print("    topic, produce and consume of its own command line")


def check_offline(broker):
    verified = run("log", "verify", str(broker.data))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert run("log", "dump", str(broker.data)).returncode == 0
    print("    log verify and log dump of a stopped node")


def main():
    check_refusals()
    with Broker("serve", shards=2) as broker:
        assert "millstream produce" in broker.words(), broker.words()
        check_own_client(broker)
        check_stalled_produce(broker)
        check_waiting_process(broker)
        check_second_process(broker)
        seconds = broker.stop(within_s=5)
        assert seconds < 2, f"an idle node took {seconds:.2f} s to stop"
        check_offline(broker)
        check_other_user(broker)
        broker.start()
        check_two_signals(broker)
    check_doctor()


def check_doctor():
    work = work_dir("doctor")
    wrong = run("doctor", "--set", "num.partition=4")
    assert wrong.returncode == 2 and "did you mean" in wrong.stderr, wrong.stderr
    elsewhere = run("doctor", "--set", f"log.dirs={work}/data", "--json")
    assert str(work) in elsewhere.stdout, elsewhere.stdout
    shutil.rmtree(work)
    doctor = run("doctor", "--json")
    found = {finding["check"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    for check in ("kernel", "io_uring", "memlock", "files", "file system", "direct IO", "sync latency", "syncfs", "sectors", "clock"):
        assert check in found, f"{check} is not in {doctor.stdout}"
    assert all(finding["grade"] == "good" or finding["remedy"] for finding in found.values()), doctor.stdout
    print("    doctor")


if __name__ == "__main__":
    main()
