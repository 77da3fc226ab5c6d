#!/usr/bin/env python3
"""From the results of bench.py to tables: what was asked for, what was reached, and why what is missed is missed.

    python3 table.py results.jsonl                                     # both tables, in Markdown
    python3 table.py results.jsonl --write docs/performance.md README.md    # into the files, between their markers
    python3 table.py results.jsonl --check                             # exit 1 when a line is missed

Every cell is the median of one run of the harness. A ratio compares figures of the same file only; what was not there in
that run has an empty cell. dinit is in no package of Debian: without BENCH_DINIT its cell is what it took elsewhere as a
multiple of the floor there, times the floor here (marked with a dagger), so that its lines can be judged at all.
"""
import argparse
import json
import statistics
import sys

PEERS = ("tini", "dumb-init", "catatonit", "s6", "runit", "daemontools", "dinit", "finit", "monit", "horust", "systemd",
         "supervisord", "circus", "pm2")

# For the short table: what people run, and the lines in plainer words.
KNOWN = ("s6", "runit", "systemd", "supervisord", "pm2")
PLAINER = {
    "boot of 1": "start, one service", "boot of 100": "start, 100 services", "boot of 1000": "start, 1000 services",
    "memory of 100": "memory, 100 services", "memory of one more": "memory, one service more",
    "crash": "killed until replaced", "restart: back": "`restart` until it is up", "status": "`status`",
    "10,000 orphans": "10,000 orphans at once", "idle wake-ups": "wake-ups when idle", "log, plain": "log to a file",
    "log, stamped": "log to a file, with timestamps", "log, forwarded with its unit": "log forwarded, with the service's name",
    "shutdown of 100": "stop, 100 services", "size": "size of what is shipped",
}

# dinit, measured on another machine: (its figure, the floor's in the same run), or a figure that depends on no machine.
ELSEWHERE = {
    "boot of 100": (51, 14.6), "boot of 1000": (552, 129), "CPU a start": (225, 36), "crash": (2.3, 0.8),
    "restart: back": (6.9, 1.2), "10,000 orphans": (437, 400), "shutdown of 100": (7.0, 4.6),
    "memory of 100": 2389, "memory of one more": 1.1, "size": 409,
}
DAGGER = "†"


class Results:
    """The lines of a file, by measure, supervisor and whatever else tells them apart."""

    def __init__(self, lines):
        self.values = {}
        self.about = {}
        for line in lines:
            d = json.loads(line)
            if d["m"] == "about":
                self.about = d
                continue
            key = (d["m"], d["s"], d.get("n"), d.get("mode"), d.get("kind"), d.get("style"))
            self.values.setdefault(key, []).append(d["v"])

    def all(self, m, s, n=None, mode=None, kind=None, style=None):
        return [v for v in self.values.get((m, s, n, mode, kind, style), []) if v is not None]

    def median(self, m, s, **keys):
        values = self.all(m, s, **keys)
        return statistics.median(values) if values else None


# ---------------------------------------------------------------- the figures of the lines

def plain(m, factor=1, **keys):
    return lambda r, s: scaled(r.median(m, s, **keys), factor)


def scaled(value, factor):
    return None if value is None else value * factor


def per_start(r, s):
    """Of the supervisor's own CPU, what a further service takes: the start of the supervisor itself is in `boot of 1`."""
    one, hundred = (r.median("boot_cpu_ms", s, n=n) for n in (1, 100))
    return None if None in (one, hundred) else (hundred - one) * 1000 / 99


def one_more(r, s):
    """KiB a further service, page tables and kernel stacks of the supervisor's processes included."""
    def both(n):
        parts = [r.median("pss_kib", s, n=n), r.median("kernel_kib", s, n=n)]
        return None if None in parts else sum(parts)
    for more, less in ((1000, 100), (100, 1)):
        if both(more) is not None and both(less) is not None:
            return (both(more) - both(less)) / (more - less)


def client_after_crash(r, s):
    """What a restart cannot go below: the replacement of a dead process, and a client that was executed to ask for it."""
    if s != "floor-vfork":
        return r.median("restart_up_ms", s)
    parts = [r.median("crash_ms", s, mode="default"), r.median("exec_ms", "floor-ping")]
    return None if None in parts else sum(parts)


def client_back(r, s):
    parts = [client_after_crash(r, s), client_after_crash(r, s) if s == "floor-vfork" else r.median("restart_cli_ms", s)]
    return None if None in parts else max(parts)      # some clients return before anything is up


def status(r, s):
    return r.median("exec_ms", "floor-ping") if s == "floor-vfork" else r.median("status_ms", s)


def reap_each(r, s):
    return None if r.median("reap_left", s) else scaled(r.median("reap_cpu_ms", s), 1000 / 10000)


def idle(m):
    """All figures of the run, summed: one wake-up in a hundred seconds is one too many. n is what a peer could take."""
    def figure(r, s):
        values = r.all(m, s, n=100) or r.all(m, s, n=1)
        return statistics.fmean(values) if values else None
    return figure


def log(kind, floor):
    def figure(r, s):
        if s == "floor-vfork":
            return r.median("log_mb_s", "floor-" + floor, kind=floor, style="block")
        if s == "svinit" or kind != "prefix":
            return r.median("log_mb_s", s, kind=kind, style="block")
        return r.median("log_mb_s", s, kind="plain", style="block")      # nobody else puts the name before the line
    return figure


PYTHON = tuple(f"{part}{version}-{which}" for version in ("3.11", "3.13") for part, which in
               (("python", "minimal"), ("libpython", "minimal"), ("libpython", "stdlib")))


def size(r, s):
    """The programs; for what is interpreted, the package or folder as well."""
    own = r.median("bin_kib", s)
    packages = {"supervisord": ("supervisor", *PYTHON), "circus": PYTHON, "systemd": ("systemd", "libsystemd-shared")}
    extra = [r.median(f"pkg_kib:{p}", s) for p in packages.get(s, ())] + [r.median("dir_kib", s)]
    return None if own is None else own + sum(v for v in extra if v is not None)


# Name, unit, figure, whether more is better, the targets, and why svinit misses one if it does. A target is (whom, at
# most or at least, bound): `floor` and peers' names are ratios to their figures, `value` is the figure itself.
GLIBC = "exec of any static glibc program: [CPUID](#exec-of-a-static-program)"
LINES = [
    ("boot of 1", "ms", plain("boot_ms", n=1), False, [("tini", 1.1)],
     GLIBC + "; the rest is [the first start](#boot)"),
    ("boot of 100", "ms", plain("boot_ms", n=100), False, [("floor", 2.0), ("dinit", 0.6)], "[boot](#boot)"),
    ("boot of 1000", "ms", plain("boot_ms", n=1000), False, [("floor", 2.0), ("dinit", 0.5)], "[boot](#boot)"),
    ("CPU a start", "µs", per_start, False, [("floor", 2.5), ("value", 90)], "[boot](#boot)"),
    ("memory of 100", "KiB", plain("pss_kib", n=100), False, [("dinit", 1.0)], "[memory](#memory)"),
    ("memory of one more", "KiB", one_more, False, [("value", 1.0)], "[memory](#memory)"),
    ("crash", "ms", plain("crash_ms", mode="default"), False, [("floor", 1.3), ("dinit", 0.5)], "[crash](#crash)"),
    ("second crash", "ms", plain("flap_ms", mode="default"), False, [("floor", 1.5)], "[crash](#crash)"),
    ("restart: up", "ms", client_after_crash, False, [("floor", 1.5), ("runit", 0.6)],
     GLIBC + ", before the client has asked"),
    ("restart: back", "ms", client_back, False, [("floor", 1.8), ("dinit", 0.35)], GLIBC),
    ("status", "ms", status, False, [("daemontools", 0.5)], GLIBC),
    ("10,000 orphans", "ms", plain("reap_ms"), False, [("floor", 1.1)], "two modes: [orphans](#orphans)"),
    ("orphans left", "", plain("reap_left"), False, [("value", 0)], "[orphans](#orphans)"),
    ("CPU an orphan", "µs", reap_each, False, [("value", 6)], "two modes: [orphans](#orphans)"),
    ("idle wake-ups", "/s", idle("idle_wakeups_per_s"), False, [("value", 0)], "[idle](#idle)"),
    ("idle CPU", "µs/s", idle("idle_cpu_us_per_s"), False, [("value", 0)], "[idle](#idle)"),
    ("log, plain", "MB/s", log("plain", "splice"), True, [("floor", 0.95)], "[logs](#logs)"),
    ("log, forwarded with its unit", "MB/s", log("prefix", "splice"), True, [("s6", 4)], "[logs](#logs)"),
    ("log, stamped", "MB/s", log("ts", "stamp"), True, [("floor", 0.8), ("s6", 5)], "[logs](#logs)"),
    ("shutdown of 100", "ms", plain("stop_ms", n=100), False, [("floor", 1.2)], "[shutdown](#shutdown)"),
    ("size", "KiB", size, False, [("value", 3584)], "[size](#size)"),
]


class Line:
    """One line: everybody's figure, and what svinit's is worth."""

    def __init__(self, results, definition):
        self.name, self.unit, figure, self.more, self.targets, self.why = definition
        self.floor = figure(results, "floor-vfork")
        self.own = figure(results, "svinit")
        self.peers = {s: v for s in PEERS if (v := figure(results, s)) is not None}
        self.far = None
        if "dinit" not in self.peers and self.name in ELSEWHERE:
            taken = ELSEWHERE[self.name]
            if not isinstance(taken, tuple):
                self.far = taken
            elif self.floor is not None:
                self.far = taken[0] / taken[1] * self.floor

    def best(self):
        """The best peer that was there."""
        some = [(v, s) for s, v in self.peers.items()]
        if not some: return None
        value, peer = max(some) if self.more else min(some)
        return peer, value

    def against(self, whom):
        if whom == "value": return 1
        if whom == "floor": return self.floor
        return self.peers.get(whom) or (self.far if whom == "dinit" else None)

    def verdicts(self):
        """(target, reached; None when it cannot be told) for each."""
        for whom, bound in self.targets:
            base = self.against(whom)
            sign = "≥" if self.more else "≤"
            mark = DAGGER if whom == "dinit" and "dinit" not in self.peers else ""
            text = f"{sign} {bound:g} {self.unit}".strip() if whom == "value" else f"{sign} {bound:g}× {whom}{mark}"
            if self.own is None or base is None:
                yield text, None
            elif whom == "value":
                yield text, self.own <= bound
            else:
                ratio = self.own / base if base else float("inf")
                yield text, ratio >= bound if self.more else ratio <= bound

    def result(self):
        said = list(self.verdicts())
        if any(ok is False for _, ok in said): return "missed"
        if all(ok is None for _, ok in said): return "not measured"
        return "reached"


def number(v):
    if v is None: return ""
    if v == 0: return "0"
    if abs(v) < 0.01: return f"{v:.1g}"
    return f"{v:,.0f}" if abs(v) >= 100 else f"{v:.3g}"


def times(own, base):
    return f"{number(own / base)}×" if own is not None and base and base > 0 else ""


def better(line, other):
    """How many times better svinit is; the other's figure itself where svinit's is 0."""
    if other is None or line.own is None: return ""
    if not line.own: return f"{number(other)} {line.unit}".strip()
    return f"{number(line.own / other if line.more else other / line.own)}×"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, left, rows):
    """The first columns, as many as `left` says, hold words; the others numbers."""
    return [row(head), row(["---"] * left + ["---:"] * (len(head) - left)), *(row(r) for r in rows)]


def asked_and_reached(lines):
    for l in lines:
        best = l.best()
        missed = [t for t, ok in l.verdicts() if ok is False]
        yield [f"{l.name}, {l.unit}" if l.unit else l.name, "; ".join(t for t, _ in l.verdicts()),
               f"**{l.result()}**: {', '.join(missed)}; {l.why}" if missed else l.result(),
               f"**{number(l.own)}**", number(l.floor), times(l.own, l.floor),
               f"{best[0]} {number(best[1])}" if best else "", times(l.own, best[1]) if best else ""]


def everybody(lines):
    shown = [s for s in PEERS if any(s in l.peers for l in lines)]
    far = any(l.far is not None for l in lines)
    head = ["", "svinit", "floor", *shown, *([f"dinit {DAGGER}"] if far else [])]
    rows = [[f"{l.name}, {l.unit}" if l.unit else l.name, number(l.own), number(l.floor),
             *(number(l.peers.get(s)) for s in shown), *([number(l.far)] if far else [])] for l in lines]
    return table(head, 1, rows)


def conditions(r):
    a = r.about
    if not a: return []
    versions = ", ".join(f"{s} {v}" for s, v in a["versions"].items() if v and s != "svinit")
    return [f"Taken on {a['date']}: {a['cpus']} shared processors ({a['cpu']}), Linux {a['kernel']}, {a['os']}, "
            f"{'in the real-time class' if a['realtime'] else 'not in the real-time class'}. svinit {a['versions'].get('svinit', '')}"
            f" against {versions}."]


def whole(r, lines):
    reached = sum(l.result() == "reached" for l in lines)
    out = [*conditions(r), "", f"{reached} of {len(lines)} lines are reached.", "",
           *table(["measure", "asked for", "result", "svinit", "floor", "/ floor", "best peer", "/ best"], 3,
                  asked_and_reached(lines)), "",
           "What each of them took (an empty cell: it cannot do this, never did, or was not there):", "", *everybody(lines)]
    if any(l.far is not None for l in lines):
        out += ["", f"{DAGGER} not here: what it took elsewhere as a multiple of the floor there, times the floor here "
                "(memory and size as they were)."]
    execs = [(name, r.median("exec_ms", "floor-" + s)) for name, s in
             (("static, musl", "static"), ("static, glibc", "static-glibc"), ("dynamic, glibc", "dynamic"),
              ("static, musl, and one question over a unix socket", "ping"),
              ("static, glibc, and one question over a unix socket", "ping-glibc"))]
    if any(v is not None for _, v in execs):
        out += ["", "What it costs to execute a program that does nothing, from exec to its end:", "",
                *table(["program", "ms"], 1, ([n, number(v)] for n, v in execs))]
    return out


def short(r, lines):
    whom = [s for s in KNOWN if any(s in l.peers for l in lines)]
    no_floor = ("memory of 100", "memory of one more", "size")
    rows = [[PLAINER[l.name], f"**{number(l.own)}** {l.unit}".strip(), "" if l.name in no_floor else times(l.own, l.floor),
             *(better(l, l.peers.get(s)) for s in whom)]
            for l in lines if l.own is not None and l.name in PLAINER]
    return table(["", "svinit", "of the floor", *whom], 1, rows)


def write(path, texts):
    """Each text takes the place of what is between its two markers."""
    with open(path, encoding="utf-8") as f: old = new = f.read()
    for name, text in texts.items():
        begin, end = f"<!-- bench: {name} -->\n", f"<!-- bench: end of {name} -->\n"
        if begin in new:
            head, rest = new.split(begin, 1)
            new = head + begin + text + "\n" + end + rest.split(end, 1)[1]
    if new == old: print(f"table: {path} is as it was", file=sys.stderr)
    with open(path, "w", encoding="utf-8") as f: f.write(new)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("results")
    ap.add_argument("--write", nargs="+", default=[], metavar="FILE", help="put the tables between the markers of these")
    ap.add_argument("--check", action="store_true", help="exit 1 when a line is missed")
    o = ap.parse_args()
    with open(o.results, encoding="utf-8") as f:
        results = Results(f)
    lines = [l for l in (Line(results, d) for d in LINES) if l.own is not None or l.floor is not None]
    texts = {"whole": "\n".join(whole(results, lines)), "short": "\n".join(short(results, lines))}
    print("\n\n".join(texts.values()))
    for path in o.write: write(path, texts)
    if o.check and any(l.result() == "missed" for l in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
