# What gdb makes of every thread's stack: a line per thread and per frame, fields apart by tabs.
import gdb

for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
    thread.switch()
    print("thread\t%d" % thread.ptid[1])
    frame = gdb.newest_frame()
    while frame:
        place = frame.find_sal()
        function = frame.function()
        name = (function.linkage_name if function else frame.name()) or ""
        file = place.symtab.fullname() if place.symtab else ""
        inlined = frame.type() == gdb.INLINE_FRAME
        print("\t".join(["frame", hex(frame.pc()), str(int(inlined)), name, file, str(place.line)]))
        frame = frame.older()
    print("end\t%s" % gdb.frame_stop_reason_string(gdb.selected_frame().unwind_stop_reason()))
