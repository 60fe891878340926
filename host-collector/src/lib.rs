//! Finds and starts unikernels, reads their observation region, writes and reads recordings
