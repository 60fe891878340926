# Runs inside gdb: writes down memory, registers and what gdb says of expressions. Environment: ORACLE_OUT (a folder),
# ORACLE_BREAK (where to stop) or ORACLE_CORE (a core to be opened instead, of which neither memory nor registers are written
# down), ORACLE_ASK (a file of lines "LEVEL<tab>EXPRESSION"; of a core the language stands in the place of the level).
import os

import gdb
import gdb_lookup

REGISTERS = "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()


def shown(value):
    printer = gdb.default_visualizer(value)
    if printer is None:
        return value.format_string()
    hint = printer.display_hint() if hasattr(printer, "display_hint") else None
    if hint == "string":
        text = printer.to_string()
        if hasattr(text, "length"):
            text = bytes(gdb.selected_inferior().read_memory(text.address, text.length)).decode() if text.length else ""
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    children = [shown(child) if isinstance(child, gdb.Value) else str(child) for _, child in printer.children()]
    if hint == "map":
        pairs = zip(children[::2], children[1::2])
        return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    return "[" + ", ".join(children) + "]"


SETTINGS = [
    "set pagination off",
    "set confirm off",
    "set width 0",
    "set print elements 200",
    "set print repeats 0",
    "set print null-stop on",
    "set disable-randomization on",
    "set startup-with-shell off",
    "set debuginfod enabled off",
]


def state(out, said):
    inferior = gdb.selected_inferior()
    with open(os.path.join(out, "memory"), "wb") as memory:
        for line in open(f"/proc/{inferior.pid}/maps"):
            fields = line.split()
            start, end = (int(part, 16) for part in fields[0].split("-"))
            try:
                content = inferior.read_memory(start, end - start)
            except gdb.MemoryError:
                # Guard pages, and what the kernel keeps to itself.
                continue
            said.write(f"memory {start:x} {memory.tell():x} {end - start:x}\n")
            memory.write(content)
    frame = gdb.newest_frame()
    values = [int(frame.read_register(name)) & 0xFFFFFFFFFFFFFFFF for name in REGISTERS]
    said.write("registers " + " ".join(f"{value:x}" for value in values) + "\n")


def main():
    core = os.environ.get("ORACLE_CORE")
    begin = [f"core-file {core}"] if core else ["break " + os.environ["ORACLE_BREAK"], "run"]
    for command in SETTINGS + begin:
        gdb.execute(command, to_string=True)
    out = os.environ["ORACLE_OUT"]
    with open(os.path.join(out, "said"), "w") as said:
        if not core:
            state(out, said)
        for objfile in gdb.objfiles():
            gdb_lookup.register_printers(objfile)
        for line in open(os.environ["ORACLE_ASK"]):
            level, expression = line.rstrip("\n").split("\t")
            gdb.execute(f"set language {level}" if core else f"frame {level}", to_string=True)
            try:
                answer = shown(gdb.parse_and_eval(expression))
            except Exception as error:  # noqa: BLE001
                answer = f"error: {error}"
            said.write("value " + answer.replace("\n", " ") + "\n")
    if not core:
        gdb.execute("kill", to_string=True)


main()
