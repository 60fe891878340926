# Runs inside gdb: writes down registers, stack memory and gdb's own backtrace of every stop, for the unwinder to be
# compared with. Environment: ORACLE_OUT, ORACLE_BREAK (where to begin), ORACLE_STEPS (at how many instructions to stop;
# 0: all threads, once), ORACLE_STRIDE (how many instructions from stop to stop).
import os
import re

import gdb

REGISTERS = ["rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15"]
# How many bytes above the outermost frame are read.
ABOVE = 256


def number(value):
    return int(value) & 0xFFFFFFFFFFFFFFFF


def mappings():
    pid = gdb.selected_inferior().pid
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            fields = line.split()
            start, end = (int(part, 16) for part in fields[0].split("-"))
            yield start, end, int(fields[2], 16), fields[5] if len(fields) > 5 else ""


class Stop:
    def __init__(self, stacks, detailed=False):
        self.detailed = detailed
        self.lines = ["stop"]
        self.stacks = stacks
        self.used = {}

    def use(self, rsp):
        stack = next((stack for stack in self.stacks if stack[0] <= rsp < stack[1]), None)
        if stack is not None:
            start, end = self.used.get(stack, (rsp, rsp))
            self.used[stack] = (min(start, rsp), max(end, rsp))

    def memory(self):
        for stack, (start, end) in self.used.items():
            start &= ~7
            end = min(stack[1], end + ABOVE)
            content = gdb.selected_inferior().read_memory(start, end - start)
            self.lines.append(f"memory {start:x} {bytes(content).hex()}")

    def detail(self, frame):
        frame.select()
        said = gdb.execute("info frame", to_string=True)
        cfa = re.search(r"frame at 0x([0-9a-f]+)", said)
        values = [number(frame.read_register(name)) for name in REGISTERS]
        self.lines.append(f"detail {cfa.group(1)} " + " ".join(f"{value:x}" for value in values))

    def record(self):
        frame = gdb.newest_frame()
        values = [number(frame.read_register(name)) for name in REGISTERS]
        self.lines.append("registers " + " ".join(f"{value:x}" for value in values))
        interrupted = True
        while frame is not None:
            if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
                self.use(number(frame.read_register("rsp")))
                self.lines.append(f"frame {frame.pc():x} {'interrupted' if interrupted else 'called'}")
                if self.detailed:
                    self.detail(frame)
                interrupted = frame.type() == gdb.SIGTRAMP_FRAME
            frame = frame.older()
        self.memory()
        return "\n".join(self.lines) + "\n"


def images():
    seen = set()
    for start, _, offset, path in mappings():
        if path.startswith("/") and offset == 0 and path not in seen:
            seen.add(path)
            yield f"image {start:x} {path}\n"


def stacks():
    return [(start, end) for start, end, _, path in mappings() if path == "[stack]" or path == ""]


def main():
    for command in [
        "set pagination off",
        "set confirm off",
        "set disable-randomization on",
        "set startup-with-shell off",
        "set debuginfod enabled off",
        "set backtrace past-main on",
        "set backtrace past-entry on",
        "set backtrace limit 600",
        "handle SIGUSR1 SIGUSR2 SIGSEGV SIGPROF nostop noprint pass",
    ]:
        gdb.execute(command, to_string=True)
    gdb.execute("break " + os.environ["ORACLE_BREAK"], to_string=True)
    gdb.execute("run", to_string=True)
    steps = int(os.environ["ORACLE_STEPS"])
    with open(os.environ["ORACLE_OUT"], "w") as out:
        out.writelines(images())
        if steps == 0:
            known = stacks()
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                out.write(Stop(known, True).record())
        else:
            stride = os.environ["ORACLE_STRIDE"]
            known = stacks()
            for _ in range(steps):
                out.write(Stop(known).record())
                gdb.execute("stepi " + stride, to_string=True)
    gdb.execute("kill", to_string=True)


main()
