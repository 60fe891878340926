//! Probes that any kernel can link: samples, events, spans, counters, threads
