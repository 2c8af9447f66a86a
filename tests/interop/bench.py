"""The load generator with real brokers: its report files read by another HdrHistogram and looked at in Chromium, a proxy that
loses, doubles and swaps requests, refusals, and ProducerPerformance of Apache Kafka on the same load (KAFKA_LIBS may name a
folder with Kafka's jars)."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

from broker import ROOT, Broker, binary, free_port, work_dir
from kafka_broker import Kafka

BENCH = os.environ.get("MILLSTREAM_BENCH", str(pathlib.Path(binary()).with_name("millstream-bench")))
SMALL = {"--partitions": 2, "--connections": 2, "--batch-bytes": 1200, "--warmup": 1}
# The exit code of a run that was made late by this machine: its counts are right all the same.
LATE = 3


def bench(*arguments, timeout=120):
    return subprocess.run([BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False)


def small(arguments):
    """The arguments, and what makes a run small where they do not say it."""
    more = [word for flag, value in SMALL.items() if flag not in arguments for word in (flag, value)]
    return [*more, "--ceiling=false", *arguments]


def run(address, *arguments, code=(0, LATE)):
    """A run; its report."""
    line = ["run", "--brokers", address, "--json", "-", "--report", "none", "--quiet", *small(arguments)]
    done = bench(*line)
    assert done.returncode in code, f"{line}: {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def check_files(broker, work):
    base = work / "report"
    line = [
        "run", "--brokers", broker.address, "--json", work / "report.json", "--report", base, "--rate", 500, "--consumers", 1,
        "--duration", 5, "--pid", broker.process.pid, *small([]),
    ]
    done = bench(*line)
    assert done.returncode in (0, LATE), done.stderr
    report = json.loads((work / "report.json").read_text())
    run = report["runs"][0]
    integrity = run["integrity"]
    assert integrity["sent"] == integrity["acknowledged"] == integrity["received"] == 3000, integrity
    assert integrity["lost"] + integrity["duplicated"] + integrity["out_of_order"] + integrity["corrupt"] == 0, integrity
    assert f"{integrity['sent']} records sent" in done.stdout, done.stdout
    check_hlog(base.with_suffix(".hlog"), run)
    check_hgrm(work / "report.produce.hgrm", run)
    print("    .hlog and .hgrm read back by hdrhistogram; every record counted")
    check_page(base.with_suffix(".html"), work)


def check_hlog(path, run):
    """Every interval's histogram is what the JSON has, by another implementation."""
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogReader

    total = HdrHistogram(1, 60_000_000, 3)
    reader = HistogramLogReader(str(path), total)
    counts = {}
    while True:
        interval = reader.get_next_interval_histogram()
        if interval is None:
            break
        tag = interval.get_tag()
        counts[tag] = counts.get(tag, 0) + interval.get_total_count()
    for tag in ("produce", "end-to-end", "fetch"):
        seconds = [second for second in run["seconds"] if tag in second["stages"] and second["phase"] != "warmup"]
        expected = sum(histogram(second["stages"][tag]).get_total_count() for second in seconds)
        # The log has what the table has.
        assert expected == histogram(run["stages"][tag]).get_total_count(), (tag, expected)
        assert expected and counts[tag] == expected, (tag, counts, expected)


def histogram(text):
    from hdrh.histogram import HdrHistogram

    return HdrHistogram.decode(text)


def check_hgrm(path, run):
    """Each line has as many counts up to its value as the histogram, and they are as much of all as it says."""
    total = histogram(run["stages"]["produce"])
    counts = [(item.value_iterated_to, item.count_added_in_this_iter_step) for item in total.get_recorded_iterator()]
    lines = [line.split() for line in path.read_text().splitlines()]
    rows = [line for line in lines if line and re.match(r"^[\d.]+$", line[0])]
    assert len(rows) > 20, rows
    for row in rows:
        value_us, part, count = float(row[0]) * 1000, float(row[1]), int(row[2])
        expected = sum(added for value, added in counts if value <= value_us + 0.5)
        assert count == expected, (row, expected)
        assert count / total.get_total_count() >= part - 1e-9, row
    assert int(rows[-1][2]) == total.get_total_count(), rows[-1]


def check_page(page, work):
    """A screenshot in headless Chromium without network: charts are there and have colours, light and dark."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        raise AssertionError("chromium is missing. Install it and run again:  sudo apt-get install chromium")
    sizes = {}
    for scheme, flags in (("light", []), ("dark", ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"])):
        picture = work / f"{scheme}.png"
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={work / ('chromium-' + scheme)}", "--window-size=1100,2600", f"--screenshot={picture}", *flags,
                page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )
        colours = pixels(picture)
        assert len(colours) > 50, f"{scheme}: {len(colours)} colours"
        sizes[scheme] = max(colours, key=colours.get)
    assert sum(sizes["light"][:3]) > 600 and sum(sizes["dark"][:3]) < 200, f"backgrounds: {sizes}"
    kept = os.environ.get("BENCH_SCREENSHOTS")
    if kept:
        for scheme in sizes:
            shutil.copy(work / f"{scheme}.png", kept)
    print("    the page is drawn by Chromium without network, light and dark")


def pixels(picture):
    """How often each colour is in a PNG of 8 bits per channel."""
    import zlib

    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and colour in (2, 6), (depth, colour)
            channels = 3 if colour == 2 else 4
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, row_bytes = zlib.decompress(packed), width * channels
    colours, above = {}, bytearray(row_bytes)
    for row in range(height):
        begin = row * (row_bytes + 1)
        line = unfiltered(raw[begin], bytearray(raw[begin + 1:begin + 1 + row_bytes]), above, channels)
        for x in range(0, row_bytes, channels * 7):
            pixel = bytes(line[x:x + channels])
            colours[pixel] = colours.get(pixel, 0) + 1
        above = line
    return colours


def unfiltered(kind, line, above, step):
    """A row of a PNG without its filter."""
    for at in range(len(line) if kind else 0):
        left = line[at - step] if at >= step else 0
        up = above[at]
        corner = above[at - step] if at >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            near = left + up - corner
            distances = [(abs(near - left), 0, left), (abs(near - up), 1, up), (abs(near - corner), 2, corner)]
            guess = min(distances)[2]
        line[at] = (line[at] + guess) & 255
    return line


class Proxy:
    """Stands before a broker; what it does to the Produce requests that it is told to spoil is known."""

    def __init__(self, target, what, every):
        self.target, self.what, self.every = target, what, every
        self.count, self.spoiled = 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        """One question at a time: the generator has one request in flight here."""
        host, port = self.target.split(":")
        server = socket.create_connection((host, int(port)))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = None
        try:
            while True:
                frame = read_frame(client)
                if frame is None:
                    return
                if frame[:2] == b"\0\1" and self.what == "hang up at Fetch":
                    self.spoiled += 1
                    return
                if frame[:2] != b"\0\0":
                    server.sendall(framed(frame))
                    client.sendall(framed(read_frame(server)))
                    continue
                with self.lock:
                    self.count += 1
                    spoil = self.count % self.every == 0
                    self.spoiled += spoil
                if spoil and self.what == "lose":
                    client.sendall(framed(acknowledged(frame)))
                    continue
                if spoil and self.what == "swap":
                    held = frame
                    client.sendall(framed(acknowledged(frame)))
                    continue
                server.sendall(framed(frame))
                answer = read_frame(server)
                if spoil and self.what == "double":
                    server.sendall(framed(frame))
                    read_frame(server)
                if held:
                    server.sendall(framed(held))
                    read_frame(server)
                    held = None
                client.sendall(framed(answer))
        except OSError:
            return
        finally:
            client.close()
            server.close()


def read_exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


def read_frame(stream):
    prefix = read_exactly(stream, 4)
    return prefix and read_exactly(stream, struct.unpack(">I", prefix)[0])


def framed(frame):
    return struct.pack(">I", len(frame)) + frame


def acknowledged(request):
    """What a broker answers to a Produce request (version 8) of one partition."""
    client = struct.unpack(">h", request[8:10])[0]
    at = 10 + client + 2 + 2 + 4 + 4
    length = struct.unpack(">h", request[at:at + 2])[0]
    topic = request[at:at + 2 + length]
    partition = request[at + 2 + length + 4:at + 2 + length + 8]
    one = struct.pack(">i", 1)
    return request[4:8] + one + topic + one + partition + struct.pack(">hqqqihi", 0, 0, -1, 0, 0, -1, 0)


@contextlib.contextmanager
def proxied(what, every):
    """A broker that clients know by the address of a proxy."""
    with Broker(f"bench-{what.replace(' ', '-').lower()}") as broker:
        proxy = Proxy(broker.address, what, every)
        broker.kill()
        command = [
            binary(), "serve", "--data", str(broker.data), "--listen", broker.address, "--advertise", proxy.address, "--shards", "1",
        ]
        with open(broker.log, "ab") as log:
            before = broker.log.stat().st_size
            broker.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        broker.wait(60, before)
        yield proxy
        proxy.listener.close()


def check_proxy(kind, field):
    """What the proxy spoils is what the generator counts, to the record."""
    with proxied(kind, 47) as proxy:
        report = run(
            proxy.address, "--rate", 400, "--duration", 4, "--partitions", 1, "--connections", 1, "--in-flight", 1, "--topic", kind,
            code=(1,),
        )
        integrity = report["runs"][0]["integrity"]
        records = integrity["sent"] // proxy.count
        for name in ("lost", "duplicated", "out_of_order", "redelivered"):
            expected = proxy.spoiled * records if name == field else 0
            assert integrity[name] == expected, f"{kind}: {name}: {integrity}, spoiled {proxy.spoiled} of {proxy.count}"
        print(f"    a proxy that does `{kind}` to {proxy.spoiled} of {proxy.count} requests: counted exactly")


def check_read_back():
    """What a broker acknowledged and lets nobody read fails the run, and is neither called lost nor passed over."""
    with proxied("hang up at Fetch", 1) as proxy:
        report = run(proxy.address, "--rate", 200, "--duration", 2, "--in-flight", 64, "--verify-seconds", 2, "--timeout", 5, code=(1,))
        found = report["runs"][0]
        integrity = found["integrity"]
        assert integrity["sent"] == integrity["acknowledged"] == integrity["unchecked"] > 0, integrity
        assert integrity["lost"] == integrity["received"] == 0 and proxy.spoiled > 0, integrity
        marks = [mark["not-read-back"] for mark in found["marks"] if "not-read-back" in mark]
        assert [mark["records"] for mark in marks] == [integrity["acknowledged"]], found["marks"]
        print(f"    {integrity['acknowledged']} acknowledged records that cannot be read back fail the run: {marks[0]['problem']}")


def check_refusals(broker, work):
    def refused(words, *arguments):
        at = [] if "--brokers" in arguments else ["--brokers", broker.address]
        done = bench("run", *at, "--ceiling=false", "--report", "none", *arguments)
        assert done.returncode == 1, f"{arguments}: {done.returncode}"
        for word in words:
            assert word in done.stderr, f"{arguments}: `{word}` is not in: {done.stderr}"

    workload = work / "wrong.toml"
    workload.write_text("rate = 5\npartition = 3\n")
    refused([str(workload) + ":2:", "the nearest is `partitions`"], workload)
    refused(["no broker at 127.0.0.1:1"], "--brokers", "127.0.0.1:1", "--rate", 5)
    refused(["there is no topic nothing"], "--connections", 0, "--consumers", 1, "--topic", "nothing")
    refused(["an open loop needs a rate"])
    transactional = ROOT / "bench/workloads/transactional.toml"
    refused(["a transactional workload needs the API AddPartitionsToTxn (key 24)", "does not offer"], transactional)
    refused(["there is no process"], "--rate", 5, "--pid", 4_000_000)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        def hang_up():
            while True:
                try:
                    mute.accept()[0].close()
                except OSError:
                    return
        threading.Thread(target=hang_up, daemon=True).start()
        refused(["closes the connection", "password"], "--brokers", "127.0.0.1:%d" % mute.getsockname()[1], "--rate", 5)
    with socket.create_server(("127.0.0.1", 0)) as web:
        def talk():
            while True:
                try:
                    client = web.accept()[0]
                except OSError:
                    return
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        threading.Thread(target=talk, daemon=True).start()
        at = "127.0.0.1:%d" % web.getsockname()[1]
        refused([at, "none of Kafka's protocol"], "--brokers", at, "--rate", 5)
    missing = work / "missing"
    refused([f"`payload-file` {missing} cannot be read"], "--topic", "refused", "--rate", 5, "--payload-file", missing)
    refused(["`cgroup`:", "has no cpu.stat"], "--topic", "refused", "--rate", 5, "--cgroup", "nowhere")
    print("    what cannot be run is refused in a sentence")


def check_transactions(address):
    """Each batch is in a transaction, and a reader of what is committed sees every one of them, and nothing else."""
    report = run(
        address, ROOT / "bench/workloads/transactional.toml", "--rate", 300, "--duration", 5, "--batch-bytes", 4096, "--partitions", 4,
        "--topic", "transactions",
    )
    found = report["runs"][0]
    integrity = found["integrity"]
    assert integrity["sent"] == integrity["acknowledged"] == integrity["received"] > 0, integrity
    assert integrity["lost"] + integrity["duplicated"] + integrity["out_of_order"] + integrity["corrupt"] == 0, integrity
    assert not found["errors"], found["errors"]
    count = histogram(found["stages"]["transaction"]).get_total_count()
    batches = histogram(found["stages"]["produce"]).get_total_count()
    assert batches / 10 - 8 <= count <= batches / 10 + 8, (count, batches)
    print(f"    transactions at Kafka: {count} of ten batches, all read once when committed")


def check_shapes(address, what, work):
    """A workload that has everything in its file: faults, keys, sizes, a codec, a schedule at random; then a ramp of lines of a file,
    and a sweep."""
    marks, lines = work / f"faults-{what}", work / "lines"
    lines.write_text('{"order": 1, "text": "one"}\n{"order": 2, "text": "two two"}\n')
    workload = work / "shapes.toml"
    workload.write_text(f"""
topic = "shapes"
partitions = 4
connections = 2
keys = "zipf"
record-bytes = 300
record-spread = 0.7
compressible = 4
compression = "zstd"
rate = "poisson:300"
consumers = 1
isolation = "committed"
warmup = 1
duration = 3
faults = [{{ at = 0.5, run = "echo one >>{marks}" }}, {{ at = 1.5, run = "echo two >>{marks}" }}]
""")
    shapes = run(address, workload)
    ramp = run(address, "--topic", "lines", "--payload-file", lines, "--rate", "ramp:50..250", "--duration", 4, "--consumers", 1)
    sweep = run(address, "--topic", "sweep", "--rate", "sweep:100..400", "--sweep-factor", 2, "--sweep-p99-ms", 10000, "--duration", 1)
    assert marks.read_text() == "one\ntwo\n", marks.read_text()
    for report in (shapes, ramp, sweep):
        for found in report["runs"]:
            integrity = found["integrity"]
            assert integrity["sent"] == integrity["received"] > 0 and integrity["lost"] + integrity["duplicated"] == 0, integrity
    records, bytes_ = totals(shapes["runs"][0])
    # The mean of a lognormal is above its median by exp(0.7 ** 2 / 2), a codec brings it to a quarter; keys and lengths are not all.
    assert 60 < bytes_ / records < 150, bytes_ / records
    rates = [second["produced"]["requests"] for second in ramp["runs"][0]["seconds"] if second["phase"] == "measured"]
    assert rates == sorted(rates) and abs(sum(rates) - 600) < 30, rates
    steps, answer = sweep["sweep"], sweep["sweep_answer"]
    assert [step["rate"] for step in steps] == [100, 200, 400][:len(steps)] and len(sweep["runs"]) == len(steps), steps
    assert answer["highest_rate"] == max((step["rate"] for step in steps if step["held"]), default=None), answer
    if len(steps) < 3 or not steps[2]["held"]:
        # Nothing breaks a bound of ten seconds but a machine that makes the generator late: then the sweep says so and ends.
        late = [mark for mark in sweep["runs"][-1]["marks"] if "generator-late" in mark]
        assert late and "the run was not valid" in answer["text"], (steps, answer)
    print(f"    poisson, zipf, lognormal, zstd and faults of a file, a ramp of a file's lines, a sweep at {what}")


def totals(found):
    measured = [second["produced"] for second in found["seconds"] if second["phase"] == "measured"]
    return sum(each["records"] for each in measured), sum(each["bytes"] for each in measured)


# What makes a workload of the folder short where a second alone does not.
SHORTENED = {
    "many-partitions": ("--partitions", 300),
    "rate-sweep": ("--rate", "sweep:500..1000"),
    "tail-and-catch-up": ("--preload-bytes", 32 << 20),
}
# These run longer in checks of their own.
ELSEWHERE = {"group-churn", "transactional"}


def check_workloads(address, what):
    """Every workload of the folder, for a second: all that it sends is acknowledged, and read by all who have to."""
    names = []
    for file in sorted((ROOT / "bench/workloads").glob("*.toml")):
        name = file.stem
        if name in ELSEWHERE:
            continue
        less = ("--connections", 2, "--in-flight", 4) if "closed = true" in file.read_text() else ()
        short = ("--warmup", 0, "--duration", 1, "--ceiling=false", "--quiet", *less, *SHORTENED.get(name, ()))
        done = bench("run", file, "--brokers", address, "--json", "-", "--report", "none", *short, timeout=300)
        assert done.returncode in (0, LATE), f"{name} at {what}: {done.returncode}: {done.stderr}"
        for found in json.loads(done.stdout)["runs"]:
            integrity = found["integrity"]
            assert found["ended"] == "complete" and found["workload"] == name, found["ended"]
            assert integrity["sent"] == integrity["acknowledged"] > 0, f"{name} at {what}: {integrity}"
            assert integrity["received"] >= integrity["sent"] * found["settings"]["fan-out"], f"{name} at {what}: {integrity}"
            for wrong in ("lost", "duplicated", "redelivered", "out_of_order", "corrupt", "unchecked"):
                assert integrity[wrong] == 0, f"{name} at {what}: {integrity}"
        names.append(name)
    assert len(names) >= 14, names
    print(f"    {len(names)} workloads for a second at {what}: {', '.join(names)}")


def check_password():
    """A listener of Kafka's that wants a password hangs up, which is said with the address and what to look for."""
    kafka = Kafka("bench-password")
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required username=a password=b user_a=b;"
    kafka.settings = (
        f"listeners=SASL_PLAINTEXT://{kafka.address},CONTROLLER://127.0.0.1:{free_port()}", f"advertised.listeners=SASL_PLAINTEXT://{kafka.address}",
        "listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT", "inter.broker.listener.name=SASL_PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN", "sasl.mechanism.inter.broker.protocol=PLAIN", f"listener.name.sasl_plaintext.plain.sasl.jaas.config={login}",
    )
    controller = kafka.settings[0].rsplit(":", 1)[1]
    kafka.settings += (f"controller.quorum.voters=1@127.0.0.1:{controller}",)
    with kafka:
        done = bench("run", "--brokers", kafka.address, "--ceiling=false", "--report", "none", "--rate", 5)
        assert done.returncode == 1 and kafka.address in done.stderr and "password" in done.stderr, (done.returncode, done.stderr)
    print("    Kafka with a password refuses, and that is said")


def check_kafka(work):
    """What Apache Kafka has to do as well."""
    with Kafka("bench-kafka") as kafka:
        check_group(kafka.address, "Kafka")
        check_transactions(kafka.address)
        check_shapes(kafka.address, "Kafka", work)
        check_workloads(kafka.address, "Kafka")
    check_password()


def check_kill(work):
    """A broker that dies in the middle: what was measured is saved and marked, and the exit code says so."""
    with Broker("bench-kill") as broker:
        line = [
            "run", "--brokers", broker.address, "--json", work / "kill.json", "--report", "none", "--rate", 500, "--duration", 6,
            "--timeout", 2, "--fault", f"2:kill -9 {broker.process.pid}", *small([]),
        ]
        done = bench(*line)
        assert done.returncode == 1, done.stderr
        assert "INVALID: ended early" in done.stdout and "is gone" in done.stdout, done.stdout
        run = json.loads((work / "kill.json").read_text())["runs"][0]
        assert run["integrity"]["acknowledged"] > 800, run["integrity"]
        assert "early" in run["ended"], run["ended"]
    print("    a broker that is killed by a fault ends the run, which is saved and marked")


def check_restart():
    """A broker that is killed and comes back: the run goes on, and nothing acknowledged is lost."""
    with Broker("bench-restart") as broker:
        again = f"kill -9 {broker.process.pid}; sleep 0.5; exec {binary()} serve --data {broker.data} --listen {broker.address} --shards 1"
        report = run(
            broker.address, "--rate", 500, "--duration", 6, "--timeout", 20, "--fault", f"2:{again} >{broker.log}.2 2>&1 & echo $! >{broker.log}.pid",
        )
        run_ = report["runs"][0]
        assert sum(second["reconnects"] for second in run_["seconds"]) >= 2, run_["seconds"]
        assert run_["integrity"]["lost"] == 0 and run_["integrity"]["unchecked"] == 0, run_["integrity"]
        subprocess.run(["sh", "-c", f"kill -9 $(cat {broker.log}.pid)"], check=False)
    print("    a broker that is killed and comes back loses nothing that it acknowledged")


def check_group(address, what):
    """Members that come and go: all records are read, and how long nobody read a partition is told."""
    report = run(
        address, ROOT / "bench/workloads/group-churn.toml", "--rate", 200, "--partitions", 8, "--churn", 2, "--heartbeat-ms", 200,
        "--warmup", 7, "--duration", 8, "--topic", "churn", "--group", "churn",
    )
    found = report["runs"][0]
    integrity = found["integrity"]
    assert integrity["lost"] == integrity["out_of_order"] == integrity["corrupt"] == integrity["unchecked"] == 0, integrity
    # What a member read and had not committed when it was put out is delivered again, and is not in the log twice.
    assert integrity["duplicated"] == 0, integrity
    assert integrity["received"] - integrity["redelivered"] == integrity["sent"] > 0, integrity
    counts = {stage: histogram(text).get_total_count() for stage, text in found["stages"].items()}
    # Every half second one leaves or joins; each time the members get their assignments, and what they have is free for a moment.
    assert counts["rebalance"] >= 16 and counts["unavailable"] >= 64, counts
    print(f"    a group with churn at {what}: {counts['rebalance']} assignments, nothing lost, {integrity['redelivered']} records delivered again")


def check_producer_performance(broker):
    """The total of Kafka's own load tool on the same load: at a rate, and at the rate that it has when nothing holds it back. That rate is
    the one of its own client on this machine, so the generator is asked for it; let loose it is faster, having no client."""
    subprocess.run(
        [binary(), "topic", "create", "performance", "--partitions", "2", "--broker", broker.address], check=True, capture_output=True,
    )
    # As many records of the same size per second, in batches of the same size.
    shape = ["--topic", "performance", "--batch-bytes", 16384, "--record-bytes", 1024]
    probe = run(broker.address, *shape, "--rate", 100, "--duration", 1, "--warmup", 0)
    records = probe["runs"][0]["integrity"]["sent"] / 100
    full = None
    for rate, count in ((8000, 48_000), (-1, 300_000)):
        theirs = producer_performance(broker, rate, count)
        full = theirs if rate < 0 else full
        found = run(broker.address, *shape, "--rate", theirs / records, "--duration", 6, "--in-flight", 256)
        ours = records_per_second(found)
        assert abs(ours / theirs - 1) < 0.1, f"ours {ours}, ProducerPerformance {theirs}"
        print(f"    ProducerPerformance {'at its full speed' if rate < 0 else 'held to a rate'}: {theirs:.0f} records/s, millstream-bench {ours:.0f}")
    # As many batches in flight: the client puts one of each partition into each of its five requests.
    loose = records_per_second(run(broker.address, *shape, "--closed", "--connections", 2, "--in-flight", 5, "--duration", 4))
    assert loose > 0.9 * full, f"let loose {loose}, ProducerPerformance {full}"
    print(f"    let loose with as many batches in flight: {loose:.0f}")


def records_per_second(report):
    measured = [second for second in report["runs"][0]["seconds"] if second["phase"] == "measured"]
    return sum(second["produced"]["records"] for second in measured) / sum(second["seconds"] for second in measured)


def producer_performance(broker, rate, count):
    libs = os.environ.get("KAFKA_LIBS", ROOT / "target" / "env" / "kafka" / "libs")
    done = subprocess.run(
        [
            "java", "-cp", f"{libs}/*", "org.apache.kafka.tools.ProducerPerformance", "--topic", "performance", "--num-records",
            str(count), "--record-size", "1024", "--throughput", str(rate), "--producer-props",
            f"bootstrap.servers={broker.address}", "acks=all", "batch.size=16384", "linger.ms=5",
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )
    return float(re.search(r"([\d.]+) records/sec", done.stdout.splitlines()[-1]).group(1))


def main():
    work = work_dir("bench")
    with Broker("bench") as broker:
        check_files(broker, work)
        check_refusals(broker, work)
        check_producer_performance(broker)
        check_group(broker.address, "Millstream")
        check_shapes(broker.address, "Millstream", work)
        check_workloads(broker.address, "Millstream")
    check_kafka(work)
    for kind, field in (("lose", "lost"), ("double", "duplicated"), ("swap", "out_of_order")):
        check_proxy(kind, field)
    check_read_back()
    check_kill(work)
    check_restart()
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
