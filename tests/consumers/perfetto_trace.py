"""Decodes a trace with the protos that Perfetto publishes, as its trace processor reads them: perfetto_trace.py TRACE.

Prints what it holds as JSON. Whatever refers to something that was not sent before is an error.
"""

import json
import sys

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos



def require_known(message):
    """No field has a number that the protos do not know, or another type than theirs."""
    assert len(UnknownFieldSet(message)) == 0, f"unknown fields in {message}"
    for _, value in message.ListFields():
        for part in value if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else [value]:
            if isinstance(part, Message):
                require_known(part)


trace = protos.Trace()
trace.ParseFromString(open(sys.argv[1], "rb").read())

names, sources, paths, build_ids, mappings, frames, stacks = ({} for _ in range(7))
found = {"threads": {}, "processes": [], "snapshots": [], "samples": [], "images": [], "events": []}
defaults = None
track_names, open_slices = {}, {}
event_types = protos.TrackEvent.Type
for packet in trace.packet:
    assert packet.trusted_packet_sequence_id, "a packet without a sequence"
    require_known(packet)
    if packet.sequence_flags & protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
        defaults = packet.trace_packet_defaults
    if packet.HasField("clock_snapshot"):
        found["snapshots"].append({clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks})
    track = packet.track_descriptor
    if track.HasField("process"):
        found["processes"].append([track.process.pid, track.process.process_name])
    if track.HasField("thread"):
        found["threads"][track.thread.tid] = track.thread.thread_name
        assert track.thread.pid == found["processes"][-1][0]
    if packet.HasField("track_descriptor"):
        track_names[track.uuid] = track.name
    if packet.HasField("track_event"):
        # Each as [category, name, begin, end].
        event = packet.track_event
        at, slices = packet.timestamp, open_slices.setdefault(event.track_uuid, [])
        assert event.track_uuid in track_names and packet.timestamp_clock_id == 6
        if event.type == event_types.TYPE_SLICE_BEGIN:
            slices.append([event.categories[0], event.name, at])
        elif event.type == event_types.TYPE_SLICE_END:
            found["events"].append([*slices.pop(), at])
        elif event.type == event_types.TYPE_INSTANT:
            found["events"].append([event.categories[0], event.name, at, at])
        else:
            assert event.type == event_types.TYPE_COUNTER
            name = track_names[event.track_uuid]
            found["events"].append([event.categories[0], name, at, at, event.double_counter_value])
    data = packet.interned_data
    for known, sent in [
        (names, data.function_names),
        (sources, data.source_paths),
        (paths, data.mapping_paths),
        (build_ids, data.build_ids),
    ]:
        known.update((string.iid, string.str) for string in sent)
    for mapping in data.mappings:
        mappings[mapping.iid] = mapping
        path = b"/".join(paths[iid] for iid in mapping.path_string_ids)
        build_id = build_ids[mapping.build_id].hex() if mapping.build_id else None
        found["images"].append([path.decode(), build_id, mapping.start, mapping.end])
    for frame in data.frames:
        mapping = mappings[frame.mapping_id] if frame.mapping_id else None
        pc = frame.rel_pc - mapping.load_bias + mapping.start if mapping else None
        source = sources[frame.source_path_iid].decode() if frame.source_path_iid else None
        frames[frame.iid] = [names[frame.function_name_id].decode(), source, frame.line_number or None, pc]
    for stack in data.callstacks:
        stacks[stack.iid] = [frames[iid] for iid in stack.frame_ids]
    if packet.HasField("perf_sample"):
        assert packet.sequence_flags & protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        assert defaults is not None and packet.timestamp_clock_id == 6
        sample = packet.perf_sample
        stack = stacks[sample.callstack_iid] if sample.callstack_iid else []
        found["samples"].append([packet.timestamp, sample.tid, sample.cpu, stack])
assert not any(open_slices.values()), "a slice without an end"
found["frequency"] = defaults.perf_sample_defaults.timebase.frequency
json.dump(found, sys.stdout)
